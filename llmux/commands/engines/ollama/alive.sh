#!/bin/sh
# Awake is what Ollama has in memory: what /api/ps lists.
set -eu

# Ollama lists a name without a tag as NAME:latest.
name=$LLMUX_MODEL
case ${name##*/} in
    *:*) ;;
    *) name=$name:latest ;;
esac

# Exit status 2: Ollama does not answer.  1: it does, and has not the model.
loaded=$(curl -sf --max-time 5 "$LLMUX_URL/api/ps") || exit 2
printf '%s' "$loaded" | tr -d ' \n' | grep -qF "\"name\":\"$name\"" || exit 1
