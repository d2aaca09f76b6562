"""Configs from and to JSON and the command line: dotted paths, strict types, differences."""

import dataclasses
import json
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from hamgan.config.schema import ExperimentConfig
from hamgan.errors import UserError, did_you_mean


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UserError(message)


def to_dict(config: Any) -> dict[str, Any]:
    """Returns a config as nested plain dictionaries."""
    return dataclasses.asdict(config)


def to_json(config: Any) -> str:
    """Returns a config as indented JSON text."""
    return json.dumps(to_dict(config), indent=2) + "\n"


def experiment_from_json(text: str, source: str) -> ExperimentConfig:
    """Reads what :func:`to_json` wrote.

    Raises:
        UserError: the text is not JSON, or holds unknown fields or wrong values; names ``source``.
    """
    try:
        values = json.loads(text)
        if not isinstance(values, dict):
            raise UserError(f"expected an object, found {type(values).__name__}")
        return _from_dict(ExperimentConfig, values, "")
    except (json.JSONDecodeError, UserError) as error:
        raise UserError(f"{source} is not a HamGAN config: {error}") from error


def override(config: ExperimentConfig, assignments: Iterable[str]) -> ExperimentConfig:
    """Returns ``config`` with ``dotted.path=value`` assignments applied and validated together.

    Raises:
        UserError: no ``=``, an unknown field (with the nearest known one), a value of the wrong type, or values that
            do not go together.
    """
    values = to_dict(config)
    for assignment in assignments:
        path, separator, text = assignment.partition("=")
        _require(bool(separator), f"an override reads FIELD=VALUE, found '{assignment}'")
        _assign(values, path, text)
    return _from_dict(ExperimentConfig, values, "")


def _assign(values: dict[str, Any], path: str, text: str) -> None:
    """Writes the parsed ``text`` into nested dictionaries at a dotted path."""
    kind: Any = ExperimentConfig
    parents = path.split(".")
    for depth, name in enumerate(parents):
        inner = _dataclass_of(kind)
        where = ".".join(parents[:depth])
        _require(inner is not None, f"'{where}' is a value and has no field '{name}'")
        hints = typing.get_type_hints(inner)
        _check_known(name, hints, where)
        kind = hints[name]
        if depth < len(parents) - 1:
            if values[name] is None:
                raise UserError(f"'{'.'.join(parents[: depth + 1])}' is none and has no field '{parents[depth + 1]}'")
            values = values[name]
    values[parents[-1]] = _parse(text, kind, path)


def _check_known(name: str, known: Iterable[str], where: str) -> None:
    known = list(known)
    if name not in known:
        prefix = f"{where}." if where else ""
        hint = did_you_mean(name, known) or f"; there are {', '.join(known)}"
        raise UserError(f"unknown field '{prefix}{name}'{hint}")


def _dataclass_of(kind: Any) -> Any:
    """The dataclass that ``kind`` or ``kind | None`` is, or None."""
    return next((option for option in _options(kind) if dataclasses.is_dataclass(option)), None)


def _options(kind: Any) -> tuple[Any, ...]:
    return typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)


def _parse(text: str, kind: Any, path: str) -> Any:
    options = _options(kind)
    if type(None) in options and text.lower() == "none":
        return None
    booleans = {"true": True, "false": False}
    for option in options:
        if option is bool and text.lower() in booleans:
            return booleans[text.lower()]
        if option is str:
            return text
        if option in (int, float):
            try:
                return option(text.replace("_", ""))
            except ValueError:
                continue
    if _dataclass_of(kind) is not None:
        _require(type(None) in options, f"'{path}' is a group of fields: override {path}.FIELD")
        raise UserError(f"'{path}' is a group of fields: set it to none, or override {path}.FIELD; found '{text}'")
    raise UserError(f"'{path}' expects {_describe(kind)}, found '{text}'")


def _describe(kind: Any) -> str:
    return " or ".join("none" if option is type(None) else option.__name__ for option in _options(kind))


def _from_dict(kind: Any, values: Mapping[str, Any], where: str) -> Any:
    """Builds a dataclass from nested dictionaries, strictly."""
    hints = typing.get_type_hints(kind)
    arguments = {}
    for name, value in values.items():
        _check_known(name, hints, where)
        arguments[name] = _checked(value, hints[name], f"{where}.{name}" if where else name)
    missing = [
        field.name
        for field in dataclasses.fields(kind)
        if field.default is dataclasses.MISSING and field.name not in arguments
    ]
    _require(not missing, f"{where or 'the config'} lacks {', '.join(missing)}")
    try:
        return kind(**arguments)
    except UserError as error:
        # Nested configs do not know their own place.
        message = str(error)
        raise UserError(message if not where or message.startswith(where) else f"{where}.{message}") from error


def _checked(value: Any, kind: Any, path: str) -> Any:
    inner = _dataclass_of(kind)
    if isinstance(value, Mapping) and inner is not None:
        return _from_dict(inner, value, path)
    for option in _options(kind):
        if option is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if type(value) is option:
            return value
    raise UserError(f"'{path}' expects {_describe(kind)}, found {value!r}")


def differences(one: Any, other: Any, prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """Returns, by dotted path, the values in which two configs of one type differ."""
    found: dict[str, tuple[Any, Any]] = {}
    for field in dataclasses.fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        path = f"{prefix}{field.name}"
        if dataclasses.is_dataclass(a) and dataclasses.is_dataclass(b):
            found.update(differences(a, b, f"{path}."))
        elif a != b:
            found[path] = (a, b)
    return found
