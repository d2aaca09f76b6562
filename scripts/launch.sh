# shellcheck shell=bash
# Sourced by the launchers: finds hamgan, prints what it starts, starts it again after a preemption.

PREEMPTED=75 # the exit code of hamgan: saved, run the same command again
RESTART_SECONDS="${RESTART_SECONDS:-10}"

# use_environment SETUP: puts hamgan in PATH; SETUP is the script that installs it.
use_environment() {
  local checkout
  checkout="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
  PATH="$checkout/.venv/bin:$PATH"
  if ! command -v hamgan > /dev/null; then
    echo "expected hamgan in $checkout/.venv or in PATH, found none; run $1 first" >&2
    exit 2
  fi
}

# expect NAMES COUNT USAGE: exits with code 2 unless there are at least as many arguments as names.
expect() {
  if [ "$2" -lt "$(wc -w <<< "$1")" ]; then
    echo "expected $1, found $2 arguments; usage: $3" >&2
    exit 2
  fi
}

# launch COMMAND...: runs it until it ends otherwise than by preemption. With --dry_run among the arguments, prints the
# command and the settings that it comes to, and runs nothing.
launch() {
  local argument status dry_run="" command=()
  for argument in "$@"; do
    if [ "$argument" = --dry_run ]; then dry_run=--dry_run; else command+=("$argument"); fi
  done
  printf '%q ' "${command[@]}"
  echo
  if [ -n "$dry_run" ]; then
    "${command[@]}" --dry_run
    return
  fi
  while true; do
    status=0
    "${command[@]}" || status=$?
    if [ "$status" -ne "$PREEMPTED" ]; then return "$status"; fi
    echo "Preempted; going on in $RESTART_SECONDS s" >&2
    sleep "$RESTART_SECONDS"
  done
}
