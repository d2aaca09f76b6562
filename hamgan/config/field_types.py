"""Types of the fields of configs, and their description in error messages."""

import types
import typing
from collections.abc import Iterable
from typing import Any

from hamgan.config.context import ContextConfig
from hamgan.config.fields import may_be_from_dataset
from hamgan.errors import UserError, did_you_mean


def field_types(kind: Any) -> dict[str, Any]:
    """Returns the types of a config's fields by name."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return {
        name: typing.get_args(hint)[0] | None if may_be_from_dataset(hint) else hint for name, hint in hints.items()
    }


def alternatives(kind: Any) -> tuple[Any, ...]:
    """Returns the types that a type is the union of."""
    return typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)


def element_type(kind: Any) -> Any:
    """Returns the type of the elements of a list of numbers, or None for another type."""
    return typing.get_args(kind)[0] if typing.get_origin(kind) is tuple and not is_context_list(kind) else None


def is_context_list(kind: Any) -> bool:
    """Whether a type is that of a list of context modules."""
    return typing.get_origin(kind) is tuple and typing.get_args(kind)[0] is ContextConfig


def check_known(name: str, known: Iterable[str], where: str) -> None:
    """Raises a ``UserError`` if a config, at the dotted path ``where``, has no field of this name."""
    known = list(known)
    if name not in known:
        prefix = f"{where}." if where else ""
        hint = did_you_mean(name, known) or f"; expected one of {', '.join(known)}"
        raise UserError(f"unknown field '{prefix}{name}'{hint}")


def describe(kind: Any) -> str:
    """Returns a type in words."""
    if is_context_list(kind):
        return "a list of context modules"
    return " or ".join(_describe_option(option) for option in alternatives(kind))


def _describe_option(option: Any) -> str:
    if option is type(None):
        return "none"
    element = element_type(option)
    return option.__name__ if element is None else f"{element.__name__}, {element.__name__}, ..."
