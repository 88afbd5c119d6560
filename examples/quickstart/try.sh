#!/bin/sh
# Ask both models something, and show the switch.  Needs a running llmux; its
# address may be given: ./try.sh http://127.0.0.1:3000
set -eu

url=${1:-http://127.0.0.1:3000}

ask() {
    curl -sS --fail-with-body "$url/v1/chat/completions" \
        -H 'Content-Type: application/json' \
        -d "{\"model\": \"$1\", \"max_tokens\": 8, \"stream\": $2,
             \"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}]}"
    echo
}

echo "The models there are:"
curl -sS --fail-with-body "$url/v1/models"
echo

for model in llama mistral llama; do
    echo
    echo "To $model, which is woken for it if it is asleep:"
    ask "$model" false
done

echo
echo "To mistral, as a stream:"
ask mistral true

echo "What has been switched so far:"
curl -sS "$url/metrics" | grep '^llmux_switch_total' ||
    echo "(nothing: that should not be)"
