#!/bin/sh
# Start a model's llama-server and wait until the model is loaded.
#
#   MODELS        where the .gguf files are; default: ./models
#   LLAMA_SERVER  the program; default: llama-server, from PATH
#   LLAMA_OPTIONS more options for it, such as "-ngl 99 -c 16384"
set -eu

if ./alive.sh; then
    exit 0
fi
# There may be one that runs but does not answer.
./sleep.sh

umask 077
mkdir -p run
log=run/$LLMUX_MODEL.log

# /slots lets sleep.sh see whether something is still being answered.
# shellcheck disable=SC2086
nohup "${LLAMA_SERVER:-llama-server}" \
    --model "${MODELS:-./models}/$LLMUX_MODEL.gguf" --alias "$LLMUX_MODEL" \
    --host 127.0.0.1 --port "$LLMUX_PORT" --slots ${LLAMA_OPTIONS:-} \
    </dev/null >"$log" 2>&1 &
server=$!
echo "$server" >"run/$LLMUX_MODEL.pid"

until ./alive.sh; do
    if ! kill -0 "$server" 2>/dev/null; then
        echo "llama-server ended while it loaded $LLMUX_MODEL; it said:" >&2
        tail -n 20 "$log" >&2
        exit 1
    fi
    sleep 0.1
done
