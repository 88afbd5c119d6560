# shellcheck shell=sh disable=SC2034
# What the hooks share.  Read with "." after `set -eu`.
#
#   JOBS  how the names of the jobs begin; default: llmux.  Another one for each
#         llmux that the same user runs on the same cluster.
#   POLL  seconds between two looks at the queue; default: 2

# A name that Slurm accepts and no other model has: "org/name" is
# llmux-org-name-<checksum>.
job=${JOBS:-llmux}-$(printf %s "$LLMUX_MODEL" | tr -c 'A-Za-z0-9_.-' '-')
[ "$job" = "${JOBS:-llmux}-$LLMUX_MODEL" ] ||
    job=$job-$(printf %s "$LLMUX_MODEL" | cksum | cut -d ' ' -f 1)

say() {
    echo "$job: $*" >&2
}

pause() {
    sleep "${POLL:-2}"
}

# Asks Slurm for the model's job: sets $id, $state, $node, $why and $port, which
# are empty if there is none.  The port is in the job's comment, where job.sh
# puts it: so nothing has to be kept in files that all machines can read.
look() {
    queue=$(squeue --me --name="$job" --noheader --format='%A|%T|%B|%r|%k') || {
        say "squeue does not answer"
        return 1
    }
    # The newest: one before it may still be ending.
    newest=$(printf '%s\n' "$queue" | sort -n | tail -n 1)
    IFS='|' read -r id state node why port <<LINE
$newest
LINE
    case $port in
        port=*) port=${port#port=} ;;
        *) port= ;;
    esac
}

# Where Slurm itself reaches the node, which need not be its name.
address() {
    scontrol --oneliner show node "$node" | sed -n 's/.* NodeAddr=\([^ ]*\).*/\1/p'
}

healthy() {
    curl -sf --max-time 5 -o /dev/null "$1/health"
}

# Whether the model's server answers.  Sets $url if so.
answers() {
    [ "$state" = RUNNING ] && [ -n "$port" ] || return 1
    url=http://$(address):$port
    healthy "$url"
}

# Says where the server is.  Only wake and alive are asked that.
tell() {
    echo "url=$url" >"$LLMUX_OUTPUT"
}
