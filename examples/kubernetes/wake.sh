#!/bin/sh
# Scale a model's Deployment up, and wait until its server answers.
#
#   ./wake.sh DEPLOYMENT
set -eu
name=$1

# Why there is nothing yet: what the scheduler says, or the pod's own last words.
explain() {
    kubectl get pods --selector="app=$name" --output=jsonpath='{range .items[*]}{.metadata.name}: {.status.phase} {.status.conditions[?(@.status=="False")].message}{"\n"}{end}' >&2 || true
    kubectl logs --selector="app=$name" --tail=20 >&2 || true
    exit 1
}
# When llmux's patience is over.
trap explain TERM

kubectl scale "deployment/$name" --replicas=1
# In the background, as a shell that waits for a program hears no signal.  It
# ends by itself when the Deployment's progressDeadlineSeconds are over.
kubectl rollout status "deployment/$name" --watch &
wait $! || explain
# Ready is not yet reachable: the nodes hear of it a moment later.
until curl -sf --max-time 5 -o /dev/null "$LLMUX_URL/health"; do
    sleep 1
done
