#!/bin/sh
# Set up and run this example from a fresh checkout: nothing is needed but
# Python 3.10 or newer and curl.  Arguments are passed on to llmux.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
checkout=$(cd "$here/../.." && pwd)
venv=$checkout/.venv

if ! command -v curl >/dev/null; then
    echo "the hooks of this example need curl; install it first" >&2
    exit 1
fi
if [ ! -x "$venv/bin/twist" ]; then
    if ! python3 -m venv "$venv"; then
        echo "on Debian and Ubuntu: apt install python3-venv" >&2
        exit 1
    fi
    "$venv/bin/python" -m pip install --quiet "$checkout"
fi

# The hooks find this python3, and this checkout's llmux, as well.
PATH=$venv/bin:$PATH
PYTHONPATH=$checkout${PYTHONPATH:+:$PYTHONPATH}
export PATH PYTHONPATH

exec python3 -m twisted --log-format=text llmux \
    --config "$here/config.yaml" "$@"
