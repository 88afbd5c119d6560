#!/bin/sh
# Have Ollama load the model, and keep it until it is told otherwise.  Ollama
# answers when it is loaded; to ask again does no harm.
set -eu

# --fail-with-body: what Ollama says if it cannot, such as
# that there is no such model, goes to llmux's log.
curl -sS --fail-with-body "$LLMUX_URL/api/generate" \
    -d "{\"model\": \"$LLMUX_MODEL\", \"keep_alive\": -1, \"stream\": false}" >&2

if ! ./alive.sh; then
    echo "Ollama does not list $LLMUX_MODEL after loading it" >&2
    exit 1
fi
