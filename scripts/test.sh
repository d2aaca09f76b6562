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
# A few processes, each of which uses several cores at times; "-n 0" runs the tests in one, for a debugger.
exec python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal "$@"
