#!/bin/sh
# Become the engine of one model, with sleep mode and its routes.  This is the
# file to edit: which models there are, and how each is served.
set -eu

case $LLMUX_MODEL in
    llama) set -- meta-llama/Llama-3.1-8B-Instruct ;;
    qwen) set -- Qwen/Qwen3-8B --max-model-len 16384 ;;
    *)
        echo "engine.sh does not know how to serve $LLMUX_MODEL" >&2
        exit 1
        ;;
esac

# The routes for sleeping exist in vLLM's development mode only.  It has
# others that no client may reach: --host keeps the network out, and guard.py
# keeps out what comes through llmux.
VLLM_SERVER_DEV_MODE=1
PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
export VLLM_SERVER_DEV_MODE PYTHONPATH

exec vllm serve "$@" \
    --served-model-name "$LLMUX_MODEL" \
    --host 127.0.0.1 --port "$LLMUX_PORT" \
    --enable-sleep-mode \
    --middleware guard.AdminGuard
