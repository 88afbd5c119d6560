#!/bin/sh
# Cancel the model's jobs and wait until Slurm has forgotten them: only then is
# what they held free.
set -eu
. ./common.sh

# Whether Slurm has given the node up, or hears nothing from it.
is_lost() {
    case $(sinfo --noheader --nodes="$node" --format=%T) in
        down* | *\*) return 0 ;;
        *) return 1 ;;
    esac
}

look
[ -n "$id" ] || exit 0
scancel --me --name="$job"

while look && [ -n "$id" ]; do
    if [ "$state" = COMPLETING ] && is_lost; then
        # It cannot end what it does not reach, and starts nothing there before
        # it has.
        say "job $id ended with its node, $node"
        exit 0
    fi
    pause
done
# The last look has failed if there is still a job.
[ -z "$id" ]
