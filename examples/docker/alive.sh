#!/bin/sh
# Does the model in its container answer?
set -eu
exec curl -sf --max-time 5 -o /dev/null "$LLMUX_URL/health"
