#!/bin/sh
# Ready?  While it loads, llama-server answers /health with 503.
set -eu
exec curl -sf --max-time 5 -o /dev/null "http://127.0.0.1:$LLMUX_PORT/health"
