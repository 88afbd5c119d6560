#!/bin/sh
# Wakes and sleeps each model once, so that all have a checkpoint and no client
# waits for a cold start:
#
#     ./prepare.sh facebook/opt-125m=8001 Qwen/Qwen2.5-3B-Instruct=8002
#
# Names and ports are those of config.yaml. llmux must not be running.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

[ $# -gt 0 ] || {
    echo "usage: $0 MODEL=PORT..." >&2
    exit 2
}
for pair; do
    export LLMUX_MODEL="${pair%=*}" LLMUX_PORT="${pair##*=}"
    echo "$LLMUX_MODEL: waking and sleeping once"
    "$here/wake.sh"
    "$here/sleep.sh"
done
