"""Differences between two configs."""

import dataclasses
from typing import Any


def differences(one: Any, other: Any, prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """Returns the fields that differ between two configs of the same type: both values by dotted path.

    Args:
        one: any config of :mod:`hamgan.config`.
        other: config of the same type.
        prefix: text before each path.

    Example:
        >>> from hamgan.config import differences
        >>> from hamgan.config.presets import hamgan_baby, hamgan_strong
        >>> differences(hamgan_strong(), hamgan_baby())["train.global_batch"]
        (1024, 256)
    """
    found: dict[str, tuple[Any, Any]] = {}
    for field in dataclasses.fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        path = f"{prefix}{field.name}"
        pairs = {path: (a, b)}
        if isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b):
            pairs = {f"{path}.{index}": pair for index, pair in enumerate(zip(a, b, strict=True))}
        for place, (left, right) in pairs.items():
            if dataclasses.is_dataclass(left) and type(left) is type(right):
                found.update(differences(left, right, f"{place}."))
            elif left != right:
                found[place] = (left, right)
    return found
