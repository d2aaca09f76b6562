#!/usr/bin/env bash
# Runs a hamgan command, and runs it again each time it ends with exit code 75: preempted, everything saved.
#
#   scripts/restart_when_preempted.sh train --run gs://bucket/runs/strong --preset hamgan_strong --accelerator tpu
#
#   RESTART_SECONDS   seconds to wait before the command is run again (default: 10)
set -euo pipefail
PREEMPTED=75

if [ $# -eq 0 ]; then
  echo "expected a hamgan command, such as: $0 train --run runs/strong --preset hamgan_strong" >&2
  exit 2
fi
PATH="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/.venv/bin:$PATH"
if ! command -v hamgan > /dev/null; then
  echo "expected hamgan in .venv of this checkout or in PATH, found none; install it first" >&2
  exit 2
fi
while true; do
  status=0
  hamgan "$@" || status=$?
  if [ "$status" -ne "$PREEMPTED" ]; then exit "$status"; fi
  echo "Preempted; running the command again in ${RESTART_SECONDS:-10} s" >&2
  sleep "${RESTART_SECONDS:-10}"
done
