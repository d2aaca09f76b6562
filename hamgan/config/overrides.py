"""Conversion of configs from and to JSON, overrides by dotted path, and comparison."""

import dataclasses
import json
import logging
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from hamgan.config.context import ContextConfig
from hamgan.config.context_modules import CONTEXT_CONFIGS
from hamgan.config.fields import may_be_from_dataset
from hamgan.config.legacy import current_assignment, current_values
from hamgan.config.schema import ExperimentConfig
from hamgan.config.segmentation import SEGMENTATION, SegmentationConfig
from hamgan.config.variants import Variants, variants_of
from hamgan.counted import counted
from hamgan.errors import UserError, did_you_mean

_logger = logging.getLogger(__name__)

AnyConfig = ExperimentConfig | SegmentationConfig
"""Config of any experiment."""
Config = TypeVar("Config", ExperimentConfig, SegmentationConfig)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UserError(message)


def to_dict(config: Any) -> dict[str, Any]:
    """Returns a config as nested dictionaries and lists of JSON values.

    Args:
        config: any config of :mod:`hamgan.config`.

    Example:
        >>> from hamgan.config import AugmentationConfig, to_dict
        >>> to_dict(AugmentationConfig(flip=True))["flip"]
        True
    """
    return json.loads(json.dumps(dataclasses.asdict(config)))


def to_json(config: Any) -> str:
    """Returns a config as indented JSON text.

    Args:
        config: any config of :mod:`hamgan.config`.

    Example:
        >>> from hamgan.config import DataConfig, to_json
        >>> print(to_json(DataConfig("digits")).splitlines()[1])
          "dataset": "digits",
    """
    return json.dumps(dataclasses.asdict(config), indent=2) + "\n"


def experiment_from_json(text: str, source: str) -> AnyConfig:
    """Parses the output of :func:`to_json`, from this version or an earlier one.

    Its field "task" tells the kind of the experiment; the config of a GAN has none. Fields that no longer exist are
    ignored and logged.

    Args:
        text: JSON text.
        source: name of the file, for error messages.

    Returns:
        The config.

    Raises:
        UserError: if the text is not JSON, or has unknown fields or invalid values.

    Example:
        >>> from hamgan.config import experiment_from_json, to_json
        >>> from hamgan.config.presets import digits
        >>> experiment_from_json(to_json(digits()), source="config.json") == digits()
        True
    """
    try:
        values = json.loads(text)
        if not isinstance(values, dict):
            raise UserError(f"expected an object, found {type(values).__name__}")
        config, ignored = _experiment_from_dict(values)
    except (json.JSONDecodeError, UserError) as error:
        raise UserError(f"{source} is not a HamGAN config: {error}") from error
    if ignored:
        _logger.info("%s: ignored fields that no longer exist: %s", source, ", ".join(ignored))
    return config


def _experiment_from_dict(values: dict[str, Any]) -> tuple[AnyConfig, list[str]]:
    """Returns a config and the names of ignored fields."""
    if "task" not in values:
        values, ignored = current_values(values)
        return _from_dict(ExperimentConfig, values, ""), ignored
    _require(
        values["task"] == SEGMENTATION, f"'task' expects '{SEGMENTATION}' or no such field, found {values['task']!r}"
    )
    return _from_dict(SegmentationConfig, values, ""), []


def override(config: Config, assignments: Iterable[str]) -> Config:
    """Returns a copy of a config with changed fields. All changes are validated together.

    Context modules are addressed by index, as in ``model.generator.context.0.rank=16``:

    - ``context.N.module=NAME``, where N is the number of modules, appends a module.
    - The same for an existing index replaces a module of another name, and keeps its resolution.
    - ``context=none`` removes all modules.

    A group of settings with variants takes the defaults of another one by its name, as in
    ``model.head.kind=light_ham``. Commas separate the elements of a list, as in ``augmentation.ratios=0.5,1,2``.

    Args:
        config: config to start from.
        assignments: changes, each ``dotted.path=value``.

    Returns:
        The changed config.

    Raises:
        UserError: if an assignment has no ``=``, a field is unknown, or a value has the wrong type or is invalid.

    Example:
        >>> from hamgan.config import override
        >>> from hamgan.config.presets import get_preset
        >>> config = override(get_preset("digits"), ["train.steps=100", "model.generator.context.0.rank=4"])
        >>> config.train.steps, config.model.generator.context[0].rank
        (100, 4)
    """
    values = to_dict(config)
    for assignment in assignments:
        path, separator, text = assignment.partition("=")
        _require(bool(separator), f"expected an override of the form FIELD=VALUE, found '{assignment}'")
        current = current_assignment(path) if isinstance(config, ExperimentConfig) else path
        if current is None:
            _logger.info("--override %s: ignored; this field no longer exists", assignment)
        else:
            _assign(type(config), values, current.split("."), text)
    return _from_dict(type(config), values, "")


def _assign(kind: Any, values: Any, path: list[str], text: str) -> None:
    """Parses ``text`` and assigns it at a path of nested dictionaries and lists, the values of a config class."""
    for depth, name in enumerate(path):
        where, is_last = ".".join(path[:depth]), depth == len(path) - 1
        if _is_context_list(kind):
            if is_last:
                raise UserError(f"'{where}.{name}' is a group of fields: override {where}.{name}.FIELD")
            values = _context_module(values, name, where, path[depth + 1], text)
            kind = CONTEXT_CONFIGS[values["module"]]
            continue
        _require(dataclasses.is_dataclass(kind), f"'{where}' is a value, it has no field '{name}'")
        variants = variants_of(kind)
        if variants is not None:
            if is_last and name == variants.field:
                _choose_variant(values, variants, text)
                return
            kind = variants.class_of(values[variants.field])
        hints = _field_types(kind)
        _check_known(name, hints, where)
        kind = hints[name]
        if is_last:
            values[name] = _parse(text, kind, ".".join(path))
        else:
            values = values[name]


def _choose_variant(values: dict[str, Any], variants: Variants, name: str) -> None:
    """Replaces the values of a group of settings by the defaults of another variant."""
    chosen = variants.class_of(name)
    if values[variants.field] != name:
        values.clear()
        values.update(to_dict(chosen()))


def _is_context_list(kind: Any) -> bool:
    return typing.get_origin(kind) is tuple and typing.get_args(kind)[0] is ContextConfig


def _context_module(modules: list[dict[str, Any]], index: str, where: str, field: str, text: str) -> dict[str, Any]:
    """Returns the values of the context module whose field is assigned; creates or replaces the module if needed."""
    count = len(modules)
    _require(index.isdecimal(), f"'{where}' is a list: expected {where}.0 and so on, found '{where}.{index}'")
    place = int(index)
    if field == "module":
        if text not in CONTEXT_CONFIGS:
            hint = did_you_mean(text, CONTEXT_CONFIGS) or f"; expected one of {', '.join(CONTEXT_CONFIGS)}"
            raise UserError(f"unknown context module '{text}'{hint}")
        _require(
            place <= count, f"'{where}' has {counted(count, 'module')}: the next one is {where}.{count}, found {place}"
        )
        if place == count:
            modules.append(to_dict(CONTEXT_CONFIGS[text]()))
        elif modules[place]["module"] != text:
            modules[place] = {**to_dict(CONTEXT_CONFIGS[text]()), "resolution": modules[place]["resolution"]}
    elif place >= count:
        raise UserError(
            f"'{where}' has {counted(count, 'module')} and no '{where}.{place}'; to append one, set "
            f"{where}.{count}.module to {' or '.join(CONTEXT_CONFIGS)}"
        )
    return modules[place]


def _check_known(name: str, known: Iterable[str], where: str) -> None:
    known = list(known)
    if name not in known:
        prefix = f"{where}." if where else ""
        hint = did_you_mean(name, known) or f"; expected one of {', '.join(known)}"
        raise UserError(f"unknown field '{prefix}{name}'{hint}")


def _field_types(kind: Any) -> dict[str, Any]:
    """Returns the types of a config's fields by name."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return {
        name: typing.get_args(hint)[0] | None if may_be_from_dataset(hint) else hint for name, hint in hints.items()
    }


def _options(kind: Any) -> tuple[Any, ...]:
    return typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)


def _element_type(kind: Any) -> Any:
    """Returns the type of the elements of a list of numbers, or None for another type."""
    return typing.get_args(kind)[0] if typing.get_origin(kind) is tuple and not _is_context_list(kind) else None


def _parse(text: str, kind: Any, path: str) -> Any:
    options = _options(kind)
    if _is_context_list(kind):
        if text.lower() == "none":
            return []
        raise UserError(f"'{path}' is a list: set it to none, or override {path}.0.FIELD; found '{text}'")
    if dataclasses.is_dataclass(kind):
        raise UserError(f"'{path}' is a group of fields: override {path}.FIELD")
    if type(None) in options and text.lower() == "none":
        return None
    booleans = {"true": True, "false": False}
    for option in options:
        if option is bool and text.lower() in booleans:
            return booleans[text.lower()]
        if option is str:
            return text
        element = _element_type(option)
        number = option if element is None else element
        if number in (int, float):
            parts = [text] if element is None else text.strip("[]()").split(",")
            try:
                numbers = [number(part.replace("_", "")) for part in parts]
            except ValueError:
                continue
            return numbers[0] if element is None else numbers
    raise UserError(f"'{path}' expects {_describe(kind)}, found '{text}'")


def _describe(kind: Any) -> str:
    if _is_context_list(kind):
        return "a list of context modules"
    return " or ".join(_describe_option(option) for option in _options(kind))


def _describe_option(option: Any) -> str:
    if option is type(None):
        return "none"
    element = _element_type(option)
    return option.__name__ if element is None else f"{element.__name__}, {element.__name__}, ..."


def _from_dict(kind: Any, values: Mapping[str, Any], where: str) -> Any:
    """Builds a dataclass from nested dictionaries with strict checks of fields and types."""
    variants = variants_of(kind)
    if variants is not None:
        name = values.get(variants.field)
        _require(
            isinstance(name, str), f"'{where}.{variants.field}' expects {' or '.join(variants.classes)}, found {name!r}"
        )
        kind = variants.class_of(str(name))
    hints = _field_types(kind)
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
        # Nested configs do not know their own path.
        message = str(error)
        raise UserError(message if not where or message.startswith(where) else f"{where}.{message}") from error


def _checked(value: Any, kind: Any, path: str) -> Any:
    if _is_context_list(kind) and isinstance(value, list):
        return tuple(_context_from_dict(item, f"{path}.{index}") for index, item in enumerate(value))
    if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
        return _from_dict(kind, value, path)
    for option in _options(kind):
        element = _element_type(option)
        if element is not None and isinstance(value, list | tuple):
            return tuple(_checked(item, element, f"{path}.{index}") for index, item in enumerate(value))
        if option is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if type(value) is option:
            return value
    raise UserError(f"'{path}' expects {_describe(kind)}, found {value!r}")


def _context_from_dict(value: Any, path: str) -> ContextConfig:
    module = value.get("module") if isinstance(value, Mapping) else None
    if not isinstance(module, str) or module not in CONTEXT_CONFIGS:
        raise UserError(f"'{path}.module' expects {' or '.join(CONTEXT_CONFIGS)}, found {module!r}")
    return _from_dict(CONTEXT_CONFIGS[module], value, path)


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
