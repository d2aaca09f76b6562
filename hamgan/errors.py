"""The ways in which a command ends without having done what it was to do, each with an exit code of its own."""

import difflib
import re
from collections.abc import Iterable


class UserError(Exception):
    """What was expected, what was found and what to do, in one line; the command line exits with code 2."""


class FailedError(Exception):
    """What failed although nothing was wrong with the command, in one line; the command line exits with code 1."""


class PreemptedError(Exception):
    """The work stopped early, with all saved that could be; the command line exits with code 75: run it again."""


def reason_of(error: Exception) -> str:
    """Returns the first line of what an error says, without the names of operations that TensorFlow puts around it."""
    said = re.sub(r"^\{\{.*?\}\} | \[Op:\w+\].*$", "", str(getattr(error, "message", None) or error).strip())
    return said.splitlines()[0] if said else type(error).__name__


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns ``"; did you mean 'x'?"`` for the nearest known name, or an empty string if none is near."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""
