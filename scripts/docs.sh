#!/usr/bin/env bash
# Builds the documentation site, strictly: a broken link or reference fails. Needs no network after the installation.
#
#   scripts/docs.sh [FOLDER]     folder of the site (default: build/site); open its index.html
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
enter_checkout build/site "$@"

make_environment docs
# The theme announces its successor in every build.
NO_MKDOCS_2_WARNING=true exec mkdocs build --quiet --strict --site-dir "$folder"
