#!/usr/bin/env bash
# Writes constraints.txt anew: the newest versions that pyproject.toml admits, for every Python that it admits.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh

make_environment test
.venv/bin/python -m pip install --quiet uv
{
  echo "# Exact versions that hamgan is tested with, for Python 3.10 to 3.13; scripts/lock.sh writes this file."
  uv pip compile --quiet --universal --python-version 3.10 --extra test --no-header --no-annotate \
    pyproject.toml
} > constraints.txt.tmp
mv constraints.txt.tmp constraints.txt
