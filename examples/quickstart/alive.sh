#!/bin/sh
# Does the model answer?  llmux asks this when it starts, so that it finds
# what is already awake, and when a connection to the model was refused.
set -eu
exec curl -sf --max-time 5 -o /dev/null "http://127.0.0.1:$LLMUX_PORT/health"
