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
# A signal to this script alone must reach hamgan, which then saves; bash would end at once and leave hamgan running.
child="" signal=""
trap 'signal=TERM; [ -z "$child" ] || kill -TERM "$child" 2> /dev/null || true' TERM
trap 'signal=INT' INT # Ctrl-C reaches hamgan too.

while true; do
  # bash ignores SIGINT in background commands; the subshell restores it.
  (trap - INT && exec hamgan "$@") &
  child=$!
  while true; do
    received="$signal" status=0
    wait "$child" || status=$?
    # A signal ends "wait" early: wait again for the exit code of hamgan.
    if [ "$signal" = "$received" ]; then break; fi
  done
  child=""
  if [ "$status" -ne "$PREEMPTED" ] || [ -n "$signal" ]; then exit "$status"; fi
  echo "Preempted; running the command again in ${RESTART_SECONDS:-10} s" >&2
  sleep "${RESTART_SECONDS:-10}"
  if [ -n "$signal" ]; then exit "$PREEMPTED"; fi
done
