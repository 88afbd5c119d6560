#!/bin/sh
# Put the engine to sleep.  Exit status 0 means that its memory is free:
# because it sleeps, or because it is gone.
#
# Level 1 (the default) keeps the weights in the memory of the host; level 2
# drops them, and wake.sh reads them again.  VLLM_SLEEP_LEVEL says which.
#
# llmux runs this only when the engine has answered all that it had begun.
# That matters: vLLM does not finish anything while it sleeps.
set -eu
. ./common.sh

level=${VLLM_SLEEP_LEVEL:-1}

case $(state) in
    asleep)
        if [ ! -e "$waking" ]; then
            exit 0
        fi
        echo "vLLM is half awake; its engine is ended" >&2
        ;;
    awake)
        # Noted first: what sleeps at level 2 must not be woken as if it slept
        # at level 1.
        echo "$level" >"run/$LLMUX_MODEL.level"
        if admin POST "/sleep?level=$level" >/dev/null &&
            [ "$(state)" = asleep ]; then
            exit 0
        fi
        echo "vLLM did not go to sleep; its engine is ended instead" >&2
        ;;
    *)
        # Nothing answers.  If something runs, it may hold memory.
        if ! running; then
            rm -f "$pidfile" "$waking"
            exit 0
        fi
        echo "vLLM does not answer; its engine is ended" >&2
        ;;
esac
stop
