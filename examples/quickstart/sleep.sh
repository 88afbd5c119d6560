#!/bin/sh
# End the model, and end only when it is gone: what it held is then free.
# llmux runs this when the last request has been answered.  To run it twice
# does no harm.
set -eu

pidfile=run/$LLMUX_MODEL.pid

# The process, unless it is gone or is only still waiting to be buried.  The
# name is looked at, too: after a reboot the number may be somebody else's.
running() {
    case $(ps -o stat= -o args= -p "$1" 2>/dev/null) in
        Z*) return 1 ;;
        *llmux.demo*) return 0 ;;
        *) return 1 ;;
    esac
}

if [ ! -e "$pidfile" ]; then
    exit 0
fi
pid=$(cat "$pidfile")

tries=0
while running "$pid"; do
    case $tries in
        0) kill "$pid" 2>/dev/null || true ;;
        # It does not listen.  The next model needs its place all the same.
        50) kill -9 "$pid" 2>/dev/null || true ;;
        100)
            echo "process $pid of $LLMUX_MODEL cannot be ended" >&2
            exit 1
            ;;
    esac
    tries=$((tries + 1))
    sleep 0.1
done
rm -f "$pidfile"
