#!/usr/bin/env bash
# Formatting, lint, types and the quick tests, in an environment of its own. Further arguments go to pytest.
#
#   scripts/test.sh          minutes
#   scripts/test.sh --slow   only the slow tests: kills, clusters, several replicas, compilation for TPUs, examples
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh

make_environment test

if [ "${1:-}" = --slow ]; then
  shift
  set -- -m slow "$@"
else
  ruff format --check .
  ruff check .
  mypy
  shellcheck --external-sources --source-path=SCRIPTDIR scripts/*.sh
fi
# One process for each core; "-n 0" runs the tests in one, for a debugger.
run_pytest() {
  python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile "$@"
}

if [ $# -gt 0 ]; then
  run_pytest "$@"
  exit
fi
# Each process keeps every function that it compiled: several runs, one after the other, need 3 GB where one needs 5.
networks=(tests/layers tests/networks tests/published tests/evaluation)
runs=(tests/training tests/runs tests/cli tests/sampling tests/distribution)
named=("${networks[@]}" "${runs[@]}")
failed=0
run_pytest "${networks[@]}" || failed=1
run_pytest "${runs[@]}" || failed=1
run_pytest tests "${named[@]/#/--ignore=}" || failed=1
exit $failed
