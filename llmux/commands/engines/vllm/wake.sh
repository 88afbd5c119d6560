#!/bin/sh
# Wake the engine, or start it if there is none.  Exit status 0 means that it
# can serve.
set -eu
. ./common.sh

case $(state) in
    awake) ;;
    asleep)
        : >"$waking"
        if [ "$(cat "run/$LLMUX_MODEL.level" 2>/dev/null)" = 2 ]; then
            # Level 2 left no weights.  Room for them first, then the weights,
            # and only then the cache: in this order the peak is smallest.
            admin POST "/wake_up?tags=weights" >/dev/null
            admin POST /collective_rpc -H 'Content-Type: application/json' \
                -d '{"method": "reload_weights"}' >/dev/null
            admin POST "/wake_up?tags=kv_cache" >/dev/null
            # What it knew of prefixes is gone with the cache.
            admin POST /reset_prefix_cache >/dev/null
        else
            admin POST /wake_up >/dev/null
        fi
        ;;
    *)
        # A cold start.  If something runs but does not answer, not beside it.
        stop
        log=run/$LLMUX_MODEL.log
        # In a session of its own where the system can, with its workers.
        if command -v setsid >/dev/null; then
            setsid ./engine.sh </dev/null >"$log" 2>&1 &
        else
            set -m
            ./engine.sh </dev/null >"$log" 2>&1 &
            set +m
        fi
        echo "$!" >"$pidfile"
        until answers; do
            if ! kill -0 "$!" 2>/dev/null; then
                echo "vLLM ended while it started; it said:" >&2
                tail -n 20 "$log" >&2
                exit 1
            fi
            sleep 0.2
        done
        ;;
esac

# One that has just been woken may still have to come to itself.
tries=0
until ./alive.sh; do
    tries=$((tries + 1))
    if [ "$tries" -ge 100 ]; then
        echo "vLLM was woken but does not serve" >&2
        exit 1
    fi
    sleep 0.1
done
rm -f "$waking"
