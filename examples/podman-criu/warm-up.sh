#!/bin/sh
# Has the model write one token. The first answer of a fresh server is slow
# (kernels are compiled, caches are filled), and this way no client waits for it.
set -u

model=${LLMUX_MODEL:?is set by llmux: the name of the model}
port=${LLMUX_PORT:?is set by llmux: the port of the model}

# Quotes and backslashes are all that JSON asks a printable name to escape.
quoted=$(printf %s "$model" | sed 's/[\\"]/\\&/g')
curl --silent --show-error --fail --max-time 120 --output /dev/null \
    --header 'Content-Type: application/json' \
    --data "{\"model\": \"$quoted\", \"prompt\": \"Hi\", \"max_tokens\": 1}" \
    "http://127.0.0.1:$port/v1/completions"
