"""Overrides of the fields of a config by dotted path."""

import dataclasses
import logging
from collections.abc import Iterable
from typing import Any, TypeVar

from hamgan.config.context_modules import CONTEXT_CONFIGS
from hamgan.config.field_types import alternatives, check_known, describe, element_type, field_types, is_context_list
from hamgan.config.fields import require
from hamgan.config.legacy import current_assignment
from hamgan.config.schema import ExperimentConfig
from hamgan.config.segmentation import SegmentationConfig
from hamgan.config.serialization import from_dict, to_dict
from hamgan.config.variants import Variants, variants_of
from hamgan.counted import counted
from hamgan.errors import UserError, did_you_mean

_logger = logging.getLogger(__name__)

Config = TypeVar("Config", ExperimentConfig, SegmentationConfig)


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
        require(bool(separator), f"expected an override of the form FIELD=VALUE, found '{assignment}'")
        current = current_assignment(path) if isinstance(config, ExperimentConfig) else path
        if current is None:
            _logger.info("--override %s: ignored; this field no longer exists", assignment)
        else:
            _assign(type(config), values, current.split("."), text)
    return from_dict(type(config), values, "")


def _assign(kind: Any, values: Any, path: list[str], text: str) -> None:
    """Parses ``text`` and assigns it at a path of nested dictionaries and lists, the values of a config class."""
    for depth, name in enumerate(path):
        where, is_last = ".".join(path[:depth]), depth == len(path) - 1
        if is_context_list(kind):
            if is_last:
                raise UserError(f"'{where}.{name}' is a group of fields: override {where}.{name}.FIELD")
            values = _context_module(values, name, where, path[depth + 1], text)
            kind = CONTEXT_CONFIGS[values["module"]]
            continue
        require(dataclasses.is_dataclass(kind), f"'{where}' is a value, it has no field '{name}'")
        variants = variants_of(kind)
        if variants is not None:
            if is_last and name == variants.field:
                _choose_variant(values, variants, text)
                return
            kind = variants.class_of(values[variants.field])
        hints = field_types(kind)
        check_known(name, hints, where)
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


def _context_module(modules: list[dict[str, Any]], index: str, where: str, field: str, text: str) -> dict[str, Any]:
    """Returns the values of the context module whose field is assigned; creates or replaces the module if needed."""
    count = len(modules)
    require(index.isdecimal(), f"'{where}' is a list: expected {where}.0 and so on, found '{where}.{index}'")
    place = int(index)
    if field == "module":
        if text not in CONTEXT_CONFIGS:
            hint = did_you_mean(text, CONTEXT_CONFIGS) or f"; expected one of {', '.join(CONTEXT_CONFIGS)}"
            raise UserError(f"unknown context module '{text}'{hint}")
        require(
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


def _parse(text: str, kind: Any, path: str) -> Any:
    options = alternatives(kind)
    if is_context_list(kind):
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
        element = element_type(option)
        number = option if element is None else element
        if number in (int, float):
            parts = [text] if element is None else text.strip("[]()").split(",")
            try:
                numbers = [number(part.replace("_", "")) for part in parts]
            except ValueError:
                continue
            return numbers[0] if element is None else numbers
    raise UserError(f"'{path}' expects {describe(kind)}, found '{text}'")
