#!/bin/sh
# Have Ollama drop the model, and wait until it has: it answers at once, and
# the memory is free when /api/ps no longer lists the model.
set -eu

# Prints "loaded", "gone", or "down" if no Ollama answers.
where() {
    status=0
    ./alive.sh || status=$?
    case $status in
        0) echo loaded ;;
        1) echo gone ;;
        *) echo down ;;
    esac
}

case $(where) in
    gone) exit 0 ;;
    down)
        # Nothing listens: Ollama is gone, and so is what it held.  One that
        # listens but does not answer may still hold the memory.
        if curl -s --max-time 5 -o /dev/null "$LLMUX_URL/"; then
            echo "Ollama answers, but not to /api/ps" >&2
            exit 1
        elif [ "$?" -eq 7 ]; then
            exit 0
        fi
        echo "Ollama does not answer" >&2
        exit 1
        ;;
esac

curl -sS --fail-with-body "$LLMUX_URL/api/generate" \
    -d "{\"model\": \"$LLMUX_MODEL\", \"keep_alive\": 0, \"stream\": false}" >&2

# How long this may take is llmux's to say: timeouts.sleep.
until [ "$(where)" = gone ]; do
    sleep 0.1
done
