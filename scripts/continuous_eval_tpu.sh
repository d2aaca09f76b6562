#!/usr/bin/env bash
# Scores the checkpoints of a run while it is being trained elsewhere: all that were not scored yet, then again after
# some minutes, until it is interrupted. Needs scripts/setup_tpu_vm.sh.
#
#   scripts/continuous_eval_tpu.sh RUN MINUTES [--dry_run] [options of 'hamgan evaluate']
#   scripts/continuous_eval_tpu.sh gs://bucket/runs/strong 30
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"
expect "RUN MINUTES" $# "$0 RUN MINUTES [--dry_run] [options of 'hamgan evaluate']"
run="$1" minutes="$2"
shift 2

use_environment scripts/setup_tpu_vm.sh
while true; do
  launch hamgan evaluate --run "$run" --checkpoint all --accelerator tpu "$@" ||
    echo "Not scored this time (exit code $?)" >&2
  case " $* " in *" --dry_run "*) exit ;; esac
  sleep "${minutes}m"
done
