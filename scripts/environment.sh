# shellcheck shell=bash
# Sourced by the scripts: creates .venv with the versions of constraints.txt and puts its programs first in PATH.
#
#   PYTHON   the interpreter to use (default: the first of python3.13 ... python3.10, python3 that is new enough)

# enter_checkout DEFAULT [FOLDER]: changes to the checkout, and sets $folder to FOLDER, relative to the user's folder, or to
# DEFAULT, relative to the checkout.
enter_checkout() {
  folder="${2:-}"
  case "$folder" in
    "" | /*) ;;
    *) folder="$PWD/$folder" ;;
  esac
  cd "$(dirname "${BASH_SOURCE[0]}")/.." || return
  folder="${folder:-$1}"
}

find_python() {
  local candidate
  for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3.10 python3}; do
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' 2> /dev/null; then
      command -v "$candidate"
      return
    fi
  done
  echo "expected Python 3.10 to 3.13 with venv, found none among ${PYTHON:-python3.10 ... python3.13, python3};" \
    "install one or set PYTHON" >&2
  return 2
}

# make_environment [EXTRA]: installs this checkout, with an optional extra of pyproject.toml, unless it is installed already.
make_environment() {
  local extra="${1:+[$1]}" python wanted
  wanted="$(cat pyproject.toml constraints.txt | cksum) ${extra:-[]}"
  if ! grep -qsxF "$wanted" .venv/installed; then
    # An interrupted first run leaves an environment without pip.
    if ! .venv/bin/python -m pip --version > /dev/null 2>&1; then
      python="$(find_python)" || return
      echo "Making .venv with $("$python" --version)"
      "$python" -m venv --clear .venv
    fi
    echo "Installing hamgan$extra and what it needs, at the versions of constraints.txt"
    .venv/bin/python -m pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt \
      --editable ".$extra"
    # On all cores, unlike pip. Without compiled modules, TensorFlow takes twice as long to import wherever
    # PYTHONDONTWRITEBYTECODE is set. Some packages have modules of other Python versions, which do not compile.
    .venv/bin/python -W ignore -m compileall -qq -j 0 .venv/lib || true
    echo "$wanted" >> .venv/installed
  fi
  PATH="$PWD/.venv/bin:$PATH"
}
