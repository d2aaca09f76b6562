#!/usr/bin/env bash
# Formatting, lint, types and the quick tests, in an environment of its own. Further arguments go to pytest.
#
#   scripts/test.sh          minutes
#   scripts/test.sh --slow   only the slow tests: kills, clusters, several replicas, compilation for TPUs, examples
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh

make_environment test

# One process for each core; "-n 0" runs the tests in one, for a debugger.
processes=auto
if [ "${1:-}" = --slow ]; then
  shift
  # One more, because some slow tests wait for the processes that they start.
  processes=$(($(nproc) + 1))
  if [ $# -eq 0 ]; then
    # The longest files first, so that the other processes do not wait for them at the end.
    set -- --no-loadscope-reorder tests/training tests/distribution tests
  fi
  set -- -m slow "$@"
else
  ruff format --check .
  ruff check .
  mypy
  shellcheck --external-sources --source-path=SCRIPTDIR scripts/*.sh
fi
run_pytest() {
  python -m pytest --numprocesses "$processes" --maxprocesses 4 --dist loadfile "$@"
}

if [ $# -gt 0 ]; then
  run_pytest "$@"
  exit
fi
# Fixtures that all groups use, such as a trained run.
HAMGAN_TESTS_SHARED="$(mktemp -d)"
export HAMGAN_TESTS_SHARED
trap 'rm -rf "$HAMGAN_TESTS_SHARED"' EXIT
# Each process keeps every function that it compiled: several runs, one after the other, need less than 3 GB at once.
groups=(
  "tests/layers tests/networks tests/published"
  "tests/training tests/runs tests/distribution tests/cli tests/sampling"
  "tests/evaluation tests/explorer tests/segmentation"
  "tests/data_prep"
)
failed=0
rest=(tests)
for group in "${groups[@]}"; do
  read -ra folders <<< "$group"
  run_pytest "${folders[@]}" || failed=1
  rest+=("${folders[@]/#/--ignore=}")
done
run_pytest "${rest[@]}" || failed=1
exit $failed
