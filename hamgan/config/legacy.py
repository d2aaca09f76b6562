"""Translation of configs and overrides from earlier versions."""

import copy
import re
from collections.abc import Mapping
from typing import Any

_REMOVED = ("model.generator.recomputed_blocks",)
"""Removed fields, none of which changed any result."""
_HAMBURGER = re.compile(r"(model\.(?:generator|discriminator))\.hamburger")
"""The single context module of earlier versions, now ``context.0``."""


def current_values(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Translates the values of a config from any version to the current one.

    Args:
        values: config as nested dictionaries.

    Returns:
        The translated values, and the dotted paths of removed fields.
    """
    current = copy.deepcopy(dict(values))
    for network in ("generator", "discriminator"):
        settings = _nested(current, ("model", network))
        if settings is not None and "hamburger" in settings:
            hamburger = settings.pop("hamburger")
            if isinstance(hamburger, Mapping):
                hamburger = {"module": "hamburger", **hamburger}
            settings["context"] = [] if hamburger is None else [hamburger]
    ignored = []
    for path in _REMOVED:
        *parents, name = path.split(".")
        settings = _nested(current, parents)
        if settings is not None and name in settings:
            del settings[name]
            ignored.append(path)
    return current, ignored


def _nested(values: Any, path: tuple[str, ...] | list[str]) -> dict[str, Any] | None:
    for name in path:
        if not isinstance(values, dict) or name not in values:
            return None
        values = values[name]
    return values if isinstance(values, dict) else None


def current_assignment(path: str) -> str | None:
    """Returns the current dotted path of a field from any version, or None if the field was removed."""
    if path in _REMOVED:
        return None
    match = _HAMBURGER.match(path)
    if match is None:
        return path
    rest = path[match.end() :]
    if not rest:
        return f"{match[1]}.context"
    return f"{match[1]}.context.0{rest}" if rest.startswith(".") else path
