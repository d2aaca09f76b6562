#!/usr/bin/env bash
# Formatting, lint, types and tests, in an environment of its own. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh

make_environment test

ruff format --check .
ruff check .
mypy
shellcheck --external-sources --source-path=SCRIPTDIR scripts/*.sh
exec python -m pytest "$@"
