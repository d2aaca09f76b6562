#!/usr/bin/env bash
# Executes tutorials, and writes their pages to docs/tutorials and their notebooks to build/tutorials.
#
#   scripts/tutorials.sh              all, which takes minutes
#   scripts/tutorials.sh NAME ...     examples/NAME.py and others
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh

make_environment tutorials
exec python scripts/site/tutorial_pages.py "$@"
