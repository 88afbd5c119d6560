#!/bin/sh
# Scale a model's Deployment down, and wait until its pods are gone: only then
# is the GPU free.
#
#   ./sleep.sh DEPLOYMENT
set -eu
name=$1

kubectl scale "deployment/$name" --replicas=0
while :; do
    left=$(kubectl get pods --selector="app=$name" --output=name)
    [ -n "$left" ] || exit 0
    # A rollout that was under way may make more meanwhile.
    # shellcheck disable=SC2086 # one word for each pod
    kubectl wait --for=delete $left --timeout=-1s
done
