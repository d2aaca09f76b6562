#!/usr/bin/env bash
# Scores every checkpoint of a run while it is being trained elsewhere, until training has ended. Needs
# scripts/setup_tpu_vm.sh.
#
#   scripts/continuous_eval_tpu.sh RUN [--dry_run] [options of 'hamgan evaluate']
#   scripts/continuous_eval_tpu.sh gs://bucket/runs/strong --timeout 7200
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"
expect "RUN" $# "$0 RUN [--dry_run] [options of 'hamgan evaluate']"
run="$1"
shift

use_environment scripts/setup_tpu_vm.sh
launch hamgan evaluate --run "$run" --watch --accelerator tpu "$@"
