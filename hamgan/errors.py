"""Exceptions that end a command, each with its own exit code, and helpers for error messages."""

import difflib
import re
import sys
from collections.abc import Iterable

__all__ = ["FailedError", "PreemptedError", "UserError"]

_OPERATIONS = re.compile(
    r"^(?:\{\{.*?\}\} |\(\d+\)\s*\w+:\s*|Error in user-defined function .*? with iterator: \S+: )+"
    r"| \[Op:\w+\].*$"
)
"""Prefixes and suffixes that TensorFlow adds to messages: operation names and error codes."""
_AROUND = re.compile(r"Graph execution error|Detected at node|Node: |\d+ root error|<stack traces|\s(?!\s*\(\d+\))")
"""Lines of a graph trace, which precede the error itself."""


class UserError(Exception):
    """Invalid input: one line with what was expected, what was found and what to do. Exit code 2."""


class FailedError(Exception):
    """A failure of valid input, described in one line. Exit code 1."""


class PreemptedError(Exception):
    """Work interrupted after saving its progress; run the same command again to resume. Exit code 75."""


def reason_of(error: BaseException) -> str:
    """Returns an error's message in one line, without TensorFlow's operation names and traces."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    said = str(getattr(error, "message", None) or error).strip()
    lines = said.splitlines()
    if lines and _AROUND.match(lines[0]):
        lines = [line for line in lines if line.strip() and not _AROUND.match(line)]
    line = _OPERATIONS.sub("", lines[0].strip()) if lines else ""
    return line or type(error).__name__


def is_of_the_environment(error: BaseException) -> bool:
    """Whether the environment (disk, network, device, damaged data) caused an error, rather than a bug.

    True for ``OSError`` and, if TensorFlow has been imported, ``tf.errors.OpError``.
    """
    tensorflow = sys.modules.get("tensorflow")
    op_error = getattr(getattr(tensorflow, "errors", None), "OpError", OSError)
    return isinstance(error, (OSError, op_error))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns ``"; did you mean 'x'?"`` for the closest known name, or an empty string if none is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""
