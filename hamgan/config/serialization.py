"""Conversion of configs from and to JSON."""

import dataclasses
import json
import logging
from collections.abc import Mapping
from typing import Any

from hamgan.config.context import ContextConfig
from hamgan.config.context_modules import CONTEXT_CONFIGS
from hamgan.config.field_types import alternatives, check_known, describe, element_type, field_types, is_context_list
from hamgan.config.fields import require
from hamgan.config.legacy import current_values
from hamgan.config.schema import ExperimentConfig
from hamgan.config.segmentation import SEGMENTATION, SegmentationConfig
from hamgan.config.variants import variants_of
from hamgan.errors import UserError

_logger = logging.getLogger(__name__)

AnyConfig = ExperimentConfig | SegmentationConfig
"""Config of any experiment."""


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
        return from_dict(ExperimentConfig, values, ""), ignored
    require(
        values["task"] == SEGMENTATION, f"'task' expects '{SEGMENTATION}' or no such field, found {values['task']!r}"
    )
    return from_dict(SegmentationConfig, values, ""), []


def from_dict(kind: Any, values: Mapping[str, Any], where: str) -> Any:
    """Builds a dataclass from nested dictionaries with strict checks of fields and types."""
    variants = variants_of(kind)
    if variants is not None:
        name = values.get(variants.field)
        require(
            isinstance(name, str), f"'{where}.{variants.field}' expects {' or '.join(variants.classes)}, found {name!r}"
        )
        kind = variants.class_of(str(name))
    hints = field_types(kind)
    arguments = {}
    for name, value in values.items():
        check_known(name, hints, where)
        arguments[name] = _checked(value, hints[name], f"{where}.{name}" if where else name)
    missing = [
        field.name
        for field in dataclasses.fields(kind)
        if field.default is dataclasses.MISSING and field.name not in arguments
    ]
    require(not missing, f"{where or 'the config'} lacks {', '.join(missing)}")
    try:
        return kind(**arguments)
    except UserError as error:
        # Nested configs do not know their own path.
        message = str(error)
        raise UserError(message if not where or message.startswith(where) else f"{where}.{message}") from error


def _checked(value: Any, kind: Any, path: str) -> Any:
    if is_context_list(kind) and isinstance(value, list):
        return tuple(_context_from_dict(item, f"{path}.{index}") for index, item in enumerate(value))
    if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
        return from_dict(kind, value, path)
    for option in alternatives(kind):
        element = element_type(option)
        if element is not None and isinstance(value, list | tuple):
            return tuple(_checked(item, element, f"{path}.{index}") for index, item in enumerate(value))
        if option is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if type(value) is option:
            return value
    raise UserError(f"'{path}' expects {describe(kind)}, found {value!r}")


def _context_from_dict(value: Any, path: str) -> ContextConfig:
    module = value.get("module") if isinstance(value, Mapping) else None
    if not isinstance(module, str) or module not in CONTEXT_CONFIGS:
        raise UserError(f"'{path}.module' expects {' or '.join(CONTEXT_CONFIGS)}, found {module!r}")
    return from_dict(CONTEXT_CONFIGS[module], value, path)
