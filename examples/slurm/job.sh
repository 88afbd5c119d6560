#!/bin/bash
# The job of one model: its server, on whichever node Slurm has chosen.  The one
# file to edit.
#
#   MODELS        where the .gguf files are; default: ./models
#   LLAMA_SERVER  the program; default: llama-server, from PATH
#   LLAMA_OPTIONS more options for it, such as "-ngl 99 -c 16384"
#
#SBATCH --ntasks=1
set -eu

model=$1

# Where Slurm reaches this node, and a port that is free there.
host=$(scontrol --oneliner show node "$SLURMD_NODENAME" |
    sed -n 's/.* NodeAddr=\([^ ]*\).*/\1/p')
port=$((20000 + SLURM_JOB_ID % 10000))
while (exec 3<>"/dev/tcp/$host/$port") 2>/dev/null; do
    port=$((port + 1))
done

# Here the hooks look for it.
scontrol update "JobId=$SLURM_JOB_ID" "Comment=port=$port"

# With exec the server is what scancel speaks to.  For vLLM that would be:
#
#   exec vllm serve "$model" --host "$host" --port "$port"
#
# shellcheck disable=SC2086 # options are words
exec "${LLAMA_SERVER:-llama-server}" \
    --model "${MODELS:-./models}/$model.gguf" --alias "$model" \
    --host "$host" --port "$port" ${LLAMA_OPTIONS:-}
