#!/usr/bin/env bash
# Writes constraints.txt anew: the newest versions that pyproject.toml admits, for every Python that it admits.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh

# Not in .venv: the old constraints may contradict what pyproject.toml asks for now.
workplace="$(mktemp -d)"
trap 'rm -rf "$workplace"' EXIT
"$(find_python)" -m venv "$workplace/venv"
"$workplace/venv/bin/python" -m pip install --quiet uv
{
  echo "# Exact versions that hamgan is tested with, for Python 3.10 to 3.13; scripts/lock.sh writes this file."
  "$workplace/venv/bin/uv" pip compile --quiet --universal --python-version 3.10 --extra gpu --extra test --no-header --no-annotate \
    pyproject.toml
} > constraints.txt.tmp
mv constraints.txt.tmp constraints.txt
