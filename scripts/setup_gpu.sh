#!/usr/bin/env bash
# On a machine with NVIDIA GPUs: creates .venv with hamgan and TensorFlow for CUDA.
#
#   scripts/setup_gpu.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh
make_environment gpu
