#!/bin/sh
# Submit the model's job, and wait until it runs and its server answers.
#
#   ./wake.sh [OPTIONS OF SBATCH]
set -eu
. ./common.sh

# The job's output, for whoever can see the folder from here.
log() {
    tail -n 20 "run/$job-$1.log" >&2 2>/dev/null || true
}

# What is to be said when llmux's patience is over.
give_up() {
    if [ "$state" = PENDING ]; then
        say "job $id is still PENDING ($why): the cluster has no place for it"
    elif [ -n "$id" ]; then
        say "job $id is $state on ${node:-no node} but its server does not answer"
        log "$id"
    fi
    exit 1
}

look
answers && tell && exit 0
if [ -z "$id" ] || [ "$state" = COMPLETING ]; then
    mkdir -p run
    # llmux, not Slurm, starts it again if it ends; and never does one model
    # have two jobs that run.
    id=$(sbatch --parsable --job-name="$job" --output="run/%x-%j.log" \
        --no-requeue --dependency=singleton "$@" ./job.sh "$LLMUX_MODEL")
    # On a cluster of several, the cluster's name follows.
    id=${id%%;*}
    state=PENDING why=
fi

mine=$id said=
trap give_up TERM
while :; do
    if ! look; then
        pause
        continue
    fi
    if [ "$id" != "$mine" ]; then
        say "job $mine has ended: $(scontrol --oneliner show job "$mine" 2>&1 |
            grep -o -e 'JobState=[^ ]*' -e 'Reason=[^ ]*' -e 'ExitCode=[^ ]*' | tr '\n' ' ')"
        log "$mine"
        exit 1
    fi
    answers && tell && exit 0
    case $why in
        *[Hh]eld* | BadConstraints) give_up ;;
    esac
    if [ "$said" != "$state ($why)" ]; then
        said="$state ($why)"
        say "job $id is $said"
    fi
    pause
done
