#!/usr/bin/env bash
# Installs hamgan, then trains a small HamNet on scenes of handwritten digits, beside the same network without context,
# and compares them: 'hamnet quickstart'. If it is interrupted, run it again to resume.
#
#   scripts/quickstart_segmentation.sh [FOLDER]     folder of data and runs (default: runs/quickstart_segmentation)
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
enter_checkout runs/quickstart_segmentation "$@"

make_environment ""
exec hamnet quickstart --out "$folder"
