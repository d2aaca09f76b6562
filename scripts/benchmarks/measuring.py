"""Parts of the benchmarks that need Python's standard library only, for machines without TensorFlow."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

PRECISIONS = ("float32", "mixed_bfloat16")
TAIL_LINES = 3


class UsageError(Exception):
    """Invalid input, described in one line."""


class FailedError(Exception):
    """A failure of valid input, described in one line."""


class ProcessError(FailedError):
    """A failed process; the message gives the reason in one line."""


def positive(text: str) -> int:
    """Parses a positive integer option; argparse reports the ``ValueError`` of other text."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a positive integer, found {text}")
    return number


def json_of_process(name: str, command: Sequence[str]) -> dict[str, Any]:
    """Runs a command that prints a JSON object as the last line of its standard output, and returns the object.

    Args:
        name: name of the command in error messages.
        command: program and arguments.

    Raises:
        ProcessError: if the command fails or prints no JSON object.
    """
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
    # A crashing library may write invalid UTF-8, which must not hide the crash.
    process = subprocess.run(command, capture_output=True, text=True, errors="replace", env=quiet, check=False)
    if process.returncode:
        how = f"exit code {process.returncode}"
        if process.returncode < 0:
            how = f"signal {-process.returncode}" + (" (probably out of memory)" if process.returncode == -9 else "")
        raise ProcessError(f"{name} ended with {how}: {_tail(process.stderr)}")
    lines = process.stdout.splitlines()
    try:
        result = json.loads(lines[-1]) if lines else None
    except json.JSONDecodeError:
        result = None
    if not isinstance(result, dict):
        found = repr(lines[-1]) if lines else "nothing"
        raise ProcessError(f"expected a JSON object in the last line of {name}, found {found}")
    return result


def _tail(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-TAIL_LINES:]) or "no error output"


def summary(values: Sequence[float]) -> dict[str, float]:
    """Returns ``median``, ``min``, ``max`` and ``n`` of measurements."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "n": len(values)}


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def seconds_per_step(step: Callable[[], Any], wait: Callable[[], Any], *, rounds: int, steps: int) -> list[float]:
    """Returns the seconds per step of each round; the device computes the steps of a round without a pause.

    Args:
        step: function that starts a step.
        wait: function that returns after all steps have been computed.
        rounds: number of rounds.
        steps: steps per round.
    """
    found = []
    for _ in range(rounds):
        begun = time.perf_counter()
        for _ in range(steps):
            step()
        wait()
        found.append((time.perf_counter() - begun) / steps)
    return found


def run_script(work: Callable[[], None]) -> None:
    """Runs the main function of a script; an error is one line, with exit code 2 if the user can fix it, else 1."""
    name = os.path.basename(sys.argv[0])
    try:
        work()
    except (UsageError, OSError) as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        sys.exit(2)
    except FailedError as error:
        print(f"{name}: failed: {error}", file=sys.stderr)
        sys.exit(1)
