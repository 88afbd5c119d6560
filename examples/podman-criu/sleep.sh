#!/bin/sh
# Sleep hook: writes the model's container to disk and frees what it holds.
# It may be run in any state and at any time; exit 0 means: its memory is free.
set -u
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/common.sh"

now=$(state) || exit 1

if [ "$now" = running ] && healthy; then
    # --keep leaves CRIU's log, for when something goes wrong.
    if uncut "$checkpoint_secs" podman container checkpoint --keep "$name"; then
        now=$(state) || exit 1
        [ "$now" = checkpointed ] && ! healthy && exit 0
    fi
    # What is left may be half frozen, and a GPU is not put back in order after
    # a failed checkpoint. Free memory matters more than a fast next wake.
    say "cannot be checkpointed and is removed; the next wake is a cold one"
    remove
elif [ "$now" = running ]; then
    # Not worth keeping: it is still loading, or it hangs.
    say "does not answer and is removed"
    remove
elif [ -n "$(processes)" ]; then
    say "should be asleep, but has processes; it is removed"
    remove
fi

if healthy; then
    die "port $port still answers; see: ss -ltnp sport = $port"
fi
