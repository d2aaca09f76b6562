"""The ways in which a command ends without having done what it was to do, each with an exit code of its own."""

import difflib
import re
import sys
from collections.abc import Iterable

_OPERATIONS = re.compile(
    r"^(?:\{\{.*?\}\} |\(\d+\)\s*\w+:\s*|Error in user-defined function .*? with iterator: \S+: )+"
    r"| \[Op:\w+\].*$"
)
"""What TensorFlow puts before and after what it says: names of operations, the code of the first of several errors."""
_AROUND = re.compile(r"Graph execution error|Detected at node|Node: |\d+ root error|<stack traces|\s(?!\s*\(\d+\))")
"""Lines of a trace through a graph; the error itself comes after them."""


class UserError(Exception):
    """What was expected, what was found and what to do, in one line; the command line exits with code 2."""


class FailedError(Exception):
    """What failed although nothing was wrong with the command, in one line; the command line exits with code 1."""


class PreemptedError(Exception):
    """The work stopped early, with all saved that could be; the command line exits with code 75: run it again."""


def reason_of(error: BaseException) -> str:
    """Returns what an error says in one line, without what TensorFlow puts around it: names of operations, a trace."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    said = str(getattr(error, "message", None) or error).strip()
    lines = said.splitlines()
    if lines and _AROUND.match(lines[0]):
        lines = [line for line in lines if line.strip() and not _AROUND.match(line)]
    line = _OPERATIONS.sub("", lines[0].strip()) if lines else ""
    return line or type(error).__name__


def is_of_the_environment(error: BaseException) -> bool:
    """Whether an error is a refusal of disk, network or device, or of damaged data, instead of a fault in the program.

    That is an ``OSError`` or a ``tf.errors.OpError``, if TensorFlow has been imported.
    """
    tensorflow = sys.modules.get("tensorflow")
    op_error = getattr(getattr(tensorflow, "errors", None), "OpError", OSError)
    return isinstance(error, (OSError, op_error))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns ``"; did you mean 'x'?"`` for the nearest known name, or an empty string if none is near."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""
