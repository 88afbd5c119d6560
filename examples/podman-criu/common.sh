# shellcheck shell=sh
# What the hooks share. Read with "." after `set -u`; $here is their folder.

model=${LLMUX_MODEL:?is set by llmux: the name of the model}
port=${LLMUX_PORT:?is set by llmux: the port of the model}

# A name that podman accepts and no other model has: "facebook/opt-125m" is
# llmux-facebook-opt-125m-<checksum>.
name=llmux-$(printf %s "$model" | tr -c 'A-Za-z0-9_.-' '-')
name=$name-$(printf %s "$model" | cksum | cut -d ' ' -f 1)

cgroups=/sys/fs/cgroup
settings=${PODMAN_CRIU_SETTINGS:-$here/settings.sh}
# shellcheck source=settings.sh
. "$settings"

say() {
    echo "$name: $*" >&2
}

die() {
    say "$*"
    exit 1
}

healthy() {
    curl --silent --fail --max-time 5 --output /dev/null \
        "http://127.0.0.1:$port/health"
}

# Prints absent, running, checkpointed or stopped. Only what was checkpointed
# last and not used since is "checkpointed": files of a checkpoint that was cut
# short, or from before a crash, do not count.
state() {
    podman container exists "$name"
    case $? in
        0) ;;
        1) echo absent && return ;;
        *) die "podman does not work; try: podman container exists $name" ;;
    esac
    found=$(podman container inspect \
        --format '{{.State.Status}} {{.State.Checkpointed}}' "$name") ||
        die "podman cannot tell its state"
    case $found in
        # "paused" and "stopping" hold memory as well.
        running* | paused* | stopping*) echo running ;;
        "exited true" | "stopped true") echo checkpointed ;;
        *) echo stopped ;;
    esac
}

# What a container was made of. One with another stamp is out of date.
stamp() {
    {
        printf '%s\n' "$model" "$port"
        podman image inspect --format '{{.Id}}' "$image" 2>/dev/null
        cat "$settings" "$here/criu.conf"
    } | cksum | tr ' ' -
}

up_to_date() {
    [ "$(podman container inspect \
        --format '{{index .Config.Labels "llmux.stamp"}}' "$name")" = "$(stamp)" ]
}

# Prints the processes of the container, those included that podman has lost
# sight of: a restore that is killed half-way can leave a server running in a
# container that counts as stopped.
processes() {
    id=$(podman container inspect --format '{{.Id}}' "$name" 2>/dev/null) || return 0
    find "$cgroups" -path "*/libpod-$id*/cgroup.procs" -exec cat {} + 2>/dev/null |
        sort -u
}

# Removes the container, its processes and its checkpoint, or fails. It is never
# one that serves well, so nothing is asked to end in its own time.
remove() {
    id=$(podman container inspect --format '{{.Id}}' "$name" 2>/dev/null)
    strays=$(processes)
    for pid in $strays; do
        kill -KILL "$pid" 2>/dev/null
    done
    # A restore that fails or is killed leaves mounts, which keep files on disk.
    if [ -n "$id" ]; then
        grep -o "/[^ ]*/$id/[^ ]*criu[^ ]*" /proc/self/mounts | sort -r |
            while read -r mount; do umount --lazy "$mount"; done
    fi
    podman rm --force --time 0 "$name" >/dev/null
    now=$(state) || exit 1
    [ "$now" = absent ] || die "cannot be removed; see: podman rm --force $name"
    for pid in $strays; do
        tries=50
        while kill -0 "$pid" 2>/dev/null; do
            tries=$((tries - 1))
            [ "$tries" -gt 0 ] || die "process $pid cannot be killed"
            sleep 0.1
        done
    done
}

# Runs a checkpoint or restore. It would leave ruins if it were cut short, so it
# is not killed together with the hook, as timeout makes it a process group of its
# own: it ends by itself, and the next hook waits for it (podman lets nobody else
# at the container meanwhile). But it has a limit, since CRIU can wait for ever,
# for instance for the rest of a damaged file.
# $1: seconds.
uncut() {
    limit=$1
    shift
    timeout --signal=KILL "$limit" "$@" >/dev/null
}

# Waits until /health answers, but not for a container that has stopped.
# $1: seconds.
wait_healthy() {
    deadline=$(($(date +%s) + $1))
    until healthy; do
        now=$(state) || exit 1
        if [ "$now" != running ]; then
            say "stopped before it answered"
            return 1
        fi
        if [ "$(date +%s)" -ge "$deadline" ]; then
            say "does not answer within $1 s"
            return 1
        fi
        sleep 0.1
    done
}
