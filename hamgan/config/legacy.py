"""Settings of earlier versions, read as today's."""

import copy
import re
from collections.abc import Mapping
from typing import Any

_REMOVED = ("model.generator.recomputed_blocks",)
"""Settings that no longer exist, and that never changed a result."""
_HAMBURGER = re.compile(r"(model\.(?:generator|discriminator))\.hamburger")
"""A network's only context module, before there was a list of them."""


def current_values(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Returns the values of a config, of this version or an earlier one, in today's form.

    Args:
        values: the config as nested dictionaries.

    Returns:
        The values, and the dotted paths of settings that were left out because they no longer exist.
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
    """Returns today's dotted path of a setting; None if the setting no longer exists."""
    if path in _REMOVED:
        return None
    match = _HAMBURGER.match(path)
    if match is None:
        return path
    rest = path[match.end() :]
    if not rest:
        return f"{match[1]}.context"
    return f"{match[1]}.context.0{rest}" if rest.startswith(".") else path
