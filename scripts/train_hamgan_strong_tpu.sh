#!/usr/bin/env bash
# Trains the published HamGAN-strong (ImageNet 128x128, batch 1024, 1,000,000 steps) on the TPU of this machine, or on the one that
# --tpu names, and goes on after preemptions. Needs scripts/setup_tpu_vm.sh.
#
#   scripts/train_hamgan_strong_tpu.sh RUN DATA_DIR [--dry_run] [options of 'hamgan train']
#   scripts/train_hamgan_strong_tpu.sh gs://bucket/runs/strong gs://bucket/tfds --dataset imagenet_hamgan/128
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"
expect "RUN DATA_DIR" $# "$0 RUN DATA_DIR [--dry_run] [options of 'hamgan train']"
run="$1" data_dir="$2"
shift 2

use_environment scripts/setup_tpu_vm.sh
launch hamgan train --run "$run" --data_dir "$data_dir" --preset hamgan_strong --accelerator tpu "$@"
