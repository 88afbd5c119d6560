#!/bin/sh
# Bring the model up, and end only when it can serve.  To run this twice does
# no harm: a model that is up is left as it is.
set -eu
here=$(dirname "$0")

if "$here/alive.sh"; then
    exit 0
fi
# There may be one that runs but does not answer.
"$here/sleep.sh"

# Nobody but the user has business with the logs.
umask 077
mkdir -p run
log=run/$LLMUX_MODEL.log

# A real model would be started here instead.  It goes to the background, as
# it is to live on when this script has ended.  DEMO_OPTIONS is a list of
# options for it, such as "--start-delay 5 --tokens-per-second 20".
# shellcheck disable=SC2086
nohup "${PYTHON:-python3}" -m llmux.demo \
    --port "$LLMUX_PORT" --model "$LLMUX_MODEL" ${DEMO_OPTIONS:-} \
    </dev/null >"$log" 2>&1 &
server=$!
echo "$server" >"run/$LLMUX_MODEL.pid"

# How long this may take is llmux's to say: timeouts.wake.
until "$here/alive.sh"; do
    if ! kill -0 "$server" 2>/dev/null; then
        echo "the server of $LLMUX_MODEL ended while it started; it said:" >&2
        tail -n 20 "$log" >&2
        exit 1
    fi
    sleep 0.1
done
