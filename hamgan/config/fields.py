"""Validation of config fields, and fields that take their value from the data set."""

from collections.abc import Collection
from typing import Annotated, Any, TypeVar

from hamgan.errors import UserError

_Value = TypeVar("_Value")
FROM_DATASET: Any = None
"""Value of a field in a preset that takes its value from the data set; JSON null, ``none`` in an override."""
_MAY_BE_FROM_DATASET = "may be FROM_DATASET"
FromDataset = Annotated[_Value, _MAY_BE_FROM_DATASET]
"""Type of a field that may be :data:`FROM_DATASET`.

:func:`hamgan.data.fitted_config.fitted_config` sets such fields. The type does not include None, because only presets
contain it, and everything that uses a config takes a fitted one.
"""


def may_be_from_dataset(kind: Any) -> bool:
    """Whether the type of a field is :data:`FromDataset`."""
    return _MAY_BE_FROM_DATASET in getattr(kind, "__metadata__", ())


def require(condition: bool, message: str) -> None:
    """Raises a ``UserError`` unless the condition holds."""
    if not condition:
        raise UserError(message)


def require_positive(config: Any, *names: str) -> None:
    """Raises a ``UserError`` if one of these fields is not positive; None, for a default, is accepted."""
    for name in names:
        value = getattr(config, name)
        require(value is None or value > 0, f"{name} must be positive, found {value}")


def require_one_of(config: Any, name: str, known: Collection[str]) -> None:
    """Raises a ``UserError`` unless a field has one of the known values."""
    value = getattr(config, name)
    require(value in known, f"{name} must be one of {', '.join(known)}, found '{value}'")


def require_fractions(config: Any, *names: str) -> None:
    """Raises a ``UserError`` if one of these fields is not in [0, 1)."""
    for name in names:
        value = getattr(config, name)
        require(0 <= value < 1, f"{name} must be in [0, 1), found {value}")
