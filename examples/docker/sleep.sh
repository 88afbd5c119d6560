#!/bin/sh
# Stop the model's container.  "docker stop" ends when it has stopped, and
# does nothing if it has already.
#
# With CHECKPOINT=NAME its state is kept for wake.sh.  That is an experiment
# of docker's, needs CRIU, and does not work for all programs that use a GPU:
# where it fails, the container is stopped.
set -eu

container=llmux-$LLMUX_MODEL

if [ -n "${CHECKPOINT:-}" ] &&
    [ "$(docker inspect --format '{{.State.Running}}' "$container")" = true ]; then
    # An old one of that name would be in the way.
    docker checkpoint rm "$container" "$CHECKPOINT" >/dev/null 2>&1 || true
    if docker checkpoint create "$container" "$CHECKPOINT"; then
        exit 0
    fi
    echo "no checkpoint could be made; $container is stopped" >&2
fi

exec docker stop "$container"
