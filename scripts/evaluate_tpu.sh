#!/usr/bin/env bash
# Scores checkpoints of a run on the TPU of this machine, or on the one that --tpu names. Needs scripts/setup_tpu_vm.sh.
#
#   scripts/evaluate_tpu.sh RUN [--dry_run] [options of 'hamgan evaluate']
#   scripts/evaluate_tpu.sh gs://bucket/runs/strong --checkpoint best
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"
expect "RUN" $# "$0 RUN [--dry_run] [options of 'hamgan evaluate']"
run="$1"
shift

use_environment scripts/setup_tpu_vm.sh
launch hamgan evaluate --run "$run" --accelerator tpu "$@"
