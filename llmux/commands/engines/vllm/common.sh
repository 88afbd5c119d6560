# shellcheck shell=sh
# What the hooks share; they read it with ".".

url=http://127.0.0.1:$LLMUX_PORT
pidfile=run/$LLMUX_MODEL.pid
# There while a wake is under way: an engine found asleep then may be half
# awake, and hold memory.
waking=run/$LLMUX_MODEL.waking
# For curl: the header that guard.py asks for.
secret=run/admin-header

umask 077
mkdir -p run
# Made once and put in place whole: the hooks of two models may run at once.
if [ ! -s "$secret" ]; then
    printf 'X-Admin-Secret: %s\n' \
        "$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')" >"$secret.$$"
    ln "$secret.$$" "$secret" 2>/dev/null || true
    rm -f "$secret.$$"
fi
LLMUX_ADMIN_SECRET=$(sed 's/^[^:]*: //' "$secret")
export LLMUX_ADMIN_SECRET

# Whether the engine's server answers, asleep or awake.
answers() {
    curl -sf --max-time 5 -o /dev/null "$url/health"
}

# Ask a route that only the hooks may use.  The secret is read from a file, so
# that it does not stand in the list of processes.
admin() {
    method=$1
    route=$2
    shift 2
    curl -sS --fail -X "$method" -H "@$secret" "$@" "$url$route"
}

# Print "asleep" or "awake"; nothing if the engine does not say.
state() {
    case $(admin GET /is_sleeping --max-time 10 2>/dev/null | tr -d ' \n') in
        *'"is_sleeping":true'*) echo asleep ;;
        *'"is_sleeping":false'*) echo awake ;;
    esac
}

# Whether the process that wake.sh started is there.  vLLM names itself in
# several ways, so that it is looked for by its number and its port.
running() {
    [ -s "$pidfile" ] || return 1
    case $(ps -o stat= -o args= -p "$(cat "$pidfile")" 2>/dev/null) in
        Z*) return 1 ;;
        *engine.sh* | *"$LLMUX_PORT"*) return 0 ;;
        *) return 1 ;;
    esac
}

# End the engine, so that its memory is free whatever state it was in.  vLLM
# leads a session of its own (see wake.sh), with all its workers in it.
stop() {
    tries=0
    while running; do
        case $tries in
            0) kill -s TERM -- "-$(cat "$pidfile")" || true ;;
            200) kill -s KILL -- "-$(cat "$pidfile")" || true ;;
            400)
                echo "the engine of $LLMUX_MODEL cannot be ended" >&2
                return 1
                ;;
        esac
        tries=$((tries + 1))
        sleep 0.1
    done
    rm -f "$pidfile" "$waking"
}
