#!/bin/sh
# Does the model's job run, and does its server answer?  Says where, too: so a
# llmux that has just been started finds the jobs of the one before it.
set -eu
. ./common.sh

if look; then
    answers || exit 1
    tell
else
    # While Slurm's controller is away, jobs go on.
    [ -n "${LLMUX_URL:-}" ] && healthy "$LLMUX_URL"
fi
