#!/bin/sh
# End a model's llama-server and wait until it is gone.
set -eu

pidfile=run/$LLMUX_MODEL.pid

# The process, unless it is gone or is only still waiting to be buried.  Its
# port is looked for, too: the number may be somebody else's by now.
running() {
    case $(ps -o stat= -o args= -p "$1" 2>/dev/null) in
        Z*) return 1 ;;
        *"--port $LLMUX_PORT"*) return 0 ;;
        *) return 1 ;;
    esac
}

busy() {
    curl -sf --max-time 2 "http://127.0.0.1:$LLMUX_PORT/slots" |
        tr -d ' \n' | grep -q '"is_processing":true'
}

if [ ! -e "$pidfile" ]; then
    exit 0
fi
pid=$(cat "$pidfile")

# On SIGTERM llama-server waits for its open answers, for up to 30 seconds,
# and then cuts them.  llmux runs this hook only when all have ended, so that
# there is nothing to wait for, but where a client has just gone away its slot
# may be busy for a moment more.
tries=0
while [ "$tries" -lt 20 ] && busy; do
    tries=$((tries + 1))
    sleep 0.1
done

tries=0
while running "$pid"; do
    case $tries in
        0) kill "$pid" 2>/dev/null || true ;;
        # It only reads its file: nothing is lost by ending it hard.
        100) kill -9 "$pid" 2>/dev/null || true ;;
        200)
            echo "llama-server $pid cannot be ended" >&2
            exit 1
            ;;
    esac
    tries=$((tries + 1))
    sleep 0.1
done
rm -f "$pidfile"
