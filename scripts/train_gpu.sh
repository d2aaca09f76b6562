#!/usr/bin/env bash
# Trains a preset on all GPUs of this machine, and goes on after preemptions. With TF_CONFIG set on several machines,
# they train together: see docs/training_on_gpus.md. Installs TensorFlow with CUDA into .venv if it is not there.
#
#   scripts/train_gpu.sh PRESET RUN DATA_DIR [--dry_run] [options of 'hamgan train']
#   scripts/train_gpu.sh hamgan_baby runs/baby /data/tfds --override train.precision=mixed_bfloat16
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"
expect "PRESET RUN DATA_DIR" $# "$0 PRESET RUN DATA_DIR [--dry_run] [options of 'hamgan train']"
preset="$1" run="$2" data_dir="$3"
shift 3

source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
(cd "$(dirname "${BASH_SOURCE[0]}")/.." && make_environment gpu)
use_environment scripts/train_gpu.sh
launch hamgan train --run "$run" --data_dir "$data_dir" --preset "$preset" --accelerator gpu "$@"
