# shellcheck shell=sh disable=SC2034,SC2154
# What the containers are: the one file to edit. The hooks read it.
#
# Given:   $model and $port, as llmux's configuration has them.
# Wanted:  $image, cold_start and the limits below.
#
# A change in this file, and a newer image, makes the next wake a cold one: no
# checkpoint of older settings is ever restored.

# As the Rust program's example had it; take one whose CUDA your driver supports.
image=docker.io/vllm/vllm-openai:v0.8.3

# Starts a new container. "$@" is what the hooks add: its name and labels, and
# where CRIU finds its options.
cold_start() {
    # shellcheck disable=SC2046 # the arguments are words
    podman run "$@" \
        --device nvidia.com/gpu=all \
        --network=host \
        --shm-size=8g \
        --env=HF_HOME=/huggingface \
        --volume="$HOME/.cache/huggingface:/huggingface" \
        --env=UV_USE_IO_URING=0 \
        "$image" \
        --model="$model" --host=127.0.0.1 --port="$port" $(arguments)
}

# Arguments for vLLM, by model. Each may fill the GPU: only one is awake.
arguments() {
    case $model in
        facebook/opt-125m) echo --gpu-memory-utilization=0.5 --enforce-eager ;;
        Qwen/Qwen2.5-3B-Instruct) echo --max-model-len=8192 --enforce-eager ;;
    esac
}

# Seconds that a checkpoint and a restore may take, and then /health to answer;
# for /health after a cold start; and from a container that is found running but
# does not answer. Below llmux's own timeouts, so that there is time to clean up.
checkpoint_secs=240
restore_secs=120
cold_secs=1200
found_secs=30
