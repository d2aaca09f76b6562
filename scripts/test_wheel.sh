#!/usr/bin/env bash
# Builds the source distribution and the wheel, installs the wheel into a new environment, and uses it outside of the
# checkout: what a user of the package index gets. Takes a few minutes, most of them for the installation.
#
#   scripts/test_wheel.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh

workplace="$(mktemp -d)"
trap 'rm -rf "$workplace"' EXIT
python="$(find_python)"
"$python" -m venv "$workplace/build"
"$workplace/build/bin/python" -m pip install --quiet --disable-pip-version-check build
# From a copy, because building leaves folders in the sources.
git archive --format=tar HEAD | tar -x --one-top-level="$workplace/source"
"$workplace/build/bin/python" -m build --outdir "$workplace/dist" "$workplace/source" > "$workplace/build.log" \
  || { tail -n 20 "$workplace/build.log" >&2; exit 1; }
ls -l "$workplace/dist"

"$python" -m venv "$workplace/venv"
# Without constraints: users have none.
"$workplace/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$workplace"/dist/*.whl
cd "$workplace"
"$workplace/venv/bin/python" -m pip check
"$workplace/venv/bin/hamgan" --version
"$workplace/venv/bin/hamgan" sample --run digits --out digits.png
"$workplace/venv/bin/hamgan" --verbosity warning quickstart --out quickstart --override \
  model.generator.base_channels=2 model.discriminator.base_channels=2 train.steps=2 train.checkpoint_every=2
"$workplace/venv/bin/python" -c "import hamgan; print(hamgan.load('quickstart/digits').sample(['3']).shape)"
echo "The wheel works."
