#!/bin/sh
# Awake and well?  An engine that is asleep answers /health too, so that it is
# not enough to ask for that.
set -eu
. ./common.sh

answers && [ "$(state)" = awake ]
