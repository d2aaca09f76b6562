"""The errors that a user can cause and put right."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """What was expected, what was found and what to do, in one line; the command line exits with code 2."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns ``"; did you mean 'x'?"`` for the nearest known name, or an empty string if none is near."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""
