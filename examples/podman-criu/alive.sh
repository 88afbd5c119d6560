#!/bin/sh
# Alive hook: exit 0 if the model's container runs and answers.
set -u
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/common.sh"

healthy && [ "$(state)" = running ]
