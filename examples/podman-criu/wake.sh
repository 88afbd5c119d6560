#!/bin/sh
# Wake hook: makes the model's container answer, in the fastest way there is.
# It may be run in any state and at any time; exit 0 means: it answers.
set -u
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/common.sh"

# It answers, and a first answer has been written: /health alone does not show
# that a restored GPU still computes.
ready() {
    wait_healthy "$1" && "$here/warm-up.sh"
}

now=$(state) || exit 1
if [ "$now" != running ] && [ -n "$(processes)" ]; then
    say "should be asleep, but has processes; it is removed"
    remove
fi

if [ "$now" = running ]; then
    healthy && exit 0
    # Perhaps still loading, since a hook before this one was killed.
    say "is running but does not answer yet"
    ready "$found_secs" && exit 0
    say "is started anew"
elif healthy; then
    # Whoever it is would be taken for the model.
    die "port $port is in use by something else; see: ss -ltnp sport = $port"
elif [ "$now" = checkpointed ]; then
    # The checkpoint is used up: a second restore would bring back the past.
    if ! up_to_date; then
        say "has a checkpoint of other settings or an older image"
    elif uncut "$restore_secs" podman container restore "$name" &&
        ready "$restore_secs"; then
        exit 0
    else
        say "cannot be restored"
    fi
fi

[ "$now" = absent ] || remove
say "starts cold"
podman image exists "$image" || podman pull "$image" >/dev/null ||
    die "there is no image $image"
if cold_start --detach --name="$name" --label="llmux.stamp=$(stamp)" \
    --annotation="org.criu.config=$here/criu.conf" >/dev/null &&
    ready "$cold_secs"; then
    exit 0
fi
podman logs --tail 20 "$name" >&2
remove
die "could not be started; its last lines are above"
