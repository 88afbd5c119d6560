#!/bin/sh
# The hooks of all models of a chaos run.  Their books are NAME.hooks: seconds
# since the machine started, what happened, and in which hook.
#
# NAME.kind is resident or process, NAME.command starts its server, and
# NAME.HOOK.fault, if it is there, says what goes wrong.

# Hooks are not to suffer from what llmux lacks.
# shellcheck disable=SC3045 # every sh that is about has it
{
    ulimit -S -f unlimited
    ulimit -S -n 1024
}
model=$LLMUX_MODEL
hook=$LLMUX_HOOK

note() {
    read -r now _ </proc/uptime
    printf '%s %s %s\n' "$now" "$1" "$hook" >>"$model.hooks"
}

# One hook of a model at a time: the system lets go of the lock when the hook
# is gone, however it went.
exec 9>>"$model.lock"
flock -n 9 || note together
note begins

fault=
if [ -e "$model.$hook.fault" ]; then
    read -r fault <"$model.$hook.fault"
fi
case $fault in
    fail) exit 1 ;;
    hang) exec sleep 1000 ;;
    stubborn)
        trap '' TERM
        while :; do sleep 0.2; done
        ;;
    daemon) sleep 2 9>&- & ;;
    flood)
        head -c 3000000 /dev/zero | tr '\0' x
        yes | head -c 3000000
        ;;
esac

# Whether the server runs: it holds this lock from before it is started.
runs() {
    ! flock -n "$model.alive" true
}

start() {
    (
        flock -n 8 || exit 0
        # shellcheck disable=SC2016 # for the other shell
        setsid sh -c 'echo $$ >"$0.pid"; exec sh "./$0.command"' "$model" \
            >>"$model.log" 2>&1 </dev/null 9>&- &
    ) 8>>"$model.alive"
}

end() {
    while runs; do
        [ ! -e "$model.pid" ] || kill -9 "$(cat "$model.pid")" 2>/dev/null
        sleep 0.02
    done
    rm -f "$model.pid"
}

read -r kind <"$model.kind"
case $hook in
    wake)
        start
        if [ "$kind" = resident ]; then
            until curl -sf -m 5 -o /dev/null -X POST "$LLMUX_URL/wake_up"; do
                sleep 0.05
            done
        fi
        until curl -sf -m 2 -o /dev/null "$LLMUX_URL/health"; do
            runs || exit 1
            sleep 0.05
        done
        ;;
    sleep)
        if [ "$kind" = process ] || ! runs ||
            ! curl -sf -m 2 -o /dev/null -X POST "$LLMUX_URL/sleep"; then
            end
        fi
        ;;
    alive) curl -sf -m 2 -o /dev/null "$LLMUX_URL/health" || exit 1 ;;
esac
note ended
[ "$fault" != late ]
