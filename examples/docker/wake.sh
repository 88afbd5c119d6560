#!/bin/sh
# Start the model's container and wait until it serves.  "docker start" of one
# that runs does nothing.
#
# With CHECKPOINT=NAME the container goes on from the checkpoint of that name,
# if sleep.sh has left one.
set -eu

container=llmux-$LLMUX_MODEL

running() {
    [ "$(docker inspect --format '{{.State.Running}}' "$container")" = true ]
}

# A first look also says clearly that there is no such container.
if ! running; then
    if [ -n "${CHECKPOINT:-}" ] &&
        docker checkpoint ls "$container" | grep -q "^$CHECKPOINT\$"; then
        docker start --checkpoint "$CHECKPOINT" "$container" || {
            echo "restoring failed; a cold start instead" >&2
            docker start "$container"
        }
    else
        docker start "$container"
    fi
fi

until ./alive.sh; do
    if ! running; then
        echo "$container ended while it started; it said:" >&2
        docker logs --tail 20 "$container" >&2 || true
        exit 1
    fi
    sleep 0.2
done
