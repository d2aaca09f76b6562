#!/usr/bin/env bash
# Updates constraints.txt to the newest versions that pyproject.toml allows, for every Python that it allows.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh

# Not in .venv, whose constraints may contradict the new pyproject.toml.
workplace="$(mktemp -d)"
trap 'rm -rf "$workplace"' EXIT
"$(find_python)" -m venv "$workplace/venv"
"$workplace/venv/bin/python" -m pip install --quiet uv
{
  echo "# Exact versions that hamgan is tested with, for Python 3.10 to 3.13; scripts/lock.sh writes this file."
  "$workplace/venv/bin/uv" pip compile --quiet --universal --python-version 3.10 --extra docs --extra gpu --extra test \
    --no-header --no-annotate pyproject.toml
} > constraints.txt.tmp
mv constraints.txt.tmp constraints.txt
