#!/bin/sh
# Is a pod of the model's Deployment ready, and does its server answer?
#
#   ./alive.sh DEPLOYMENT
set -eu

ready=$(kubectl get "deployment/$1" --output=jsonpath='{.status.readyReplicas}')
[ "${ready:-0}" -ge 1 ]
exec curl -sf --max-time 5 -o /dev/null "$LLMUX_URL/health"
