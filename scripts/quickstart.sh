#!/usr/bin/env bash
# Installs hamgan, then trains HamGAN on handwritten digits, draws samples and scores them: 'hamgan quickstart'.
# If it is interrupted, run it again to resume.
#
#   scripts/quickstart.sh [FOLDER]     folder of data and run (default: runs/quickstart)
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
enter_checkout runs/quickstart "$@"

make_environment ""
exec hamgan quickstart --out "$folder"
