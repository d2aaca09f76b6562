"""Opens a prepared TFDS data set and reads the metadata beside its records."""

import json
import os
import re
from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tensorflow_datasets as tfds
from google.protobuf import json_format  # type: ignore[import-untyped]

from hamgan.config import DataConfig
from hamgan.counted import counted
from hamgan.data.examples import is_preprocessed
from hamgan.errors import UserError, reason_of

PREPARATION_RECORD = "preparation.json"
"""File that ``hamgan prepare`` writes beside TFDS's own ``dataset_info.json``."""

TFDS_ERRORS = (
    AssertionError,
    AttributeError,
    KeyError,
    OSError,
    TypeError,
    ValueError,
    json_format.Error,
    tf.errors.OpError,
    tfds.core.DatasetNotFoundError,
)
"""Exceptions that TFDS raises for missing data sets and for damaged metadata."""

_REMEDY = "prepare it ('hamgan prepare' or TFDS) or pass --data_dir"
_TFDS_FILES = {"dataset_info.json": "version", "features.json": "pythonClassName"}
"""Metadata files of TFDS, each with a field that it always has."""
_RECORD_FIELDS: dict[str, tuple[type, ...]] = {"plan": (str,), "subset": (dict, type(None)), "problems": (list,)}
"""Fields of the preparation record that this package reads, with their types."""


def open_dataset(config: DataConfig) -> tfds.core.DatasetBuilder:
    """Returns the builder of a prepared data set that is stored as TFRecord files.

    Raises:
        UserError: the config names no data set; the data set does not exist or is not prepared, its metadata is
            damaged, or it is stored in another file format.
    """
    if not config.dataset:
        raise UserError("the config names no data set; pass --dataset NAME, or override data.dataset")
    where = config.data_dir or "TFDS's default folder"
    try:
        builder = tfds.builder(config.dataset, data_dir=config.data_dir)
        splits, file_format = builder.info.splits, builder.info.file_format
    except TFDS_ERRORS as error:
        _raise_if_damaged(config, error)
        if isinstance(error, tfds.core.DatasetNotFoundError):
            raise UserError(f"no data set '{config.dataset}' in {where}: {_REMEDY}") from error
        file_name = "dataset_info.json: " if isinstance(error, json_format.Error) else ""
        raise UserError(
            f"data set '{config.dataset}' in {where} cannot be opened: {file_name}{reason_of(error)}"
        ) from error
    if not splits:
        _raise_if_damaged(config)
        raise UserError(f"data set '{config.dataset}' is known but not prepared in {where}: {_REMEDY}")
    if file_format != tfds.core.FileFormat.TFRECORD:
        raise UserError(
            f"data set '{config.dataset}' is stored as {file_format.value}; expected tfrecord: "
            "prepare it with file_format='tfrecord'"
        )
    return builder


def _raise_if_damaged(config: DataConfig, error: Exception | None = None) -> None:
    damage = damaged_metadata(config)
    if damage is not None:
        raise UserError(f"data set '{config.dataset}' cannot be opened: {damage}; prepare it again") from error


def damaged_metadata(config: DataConfig) -> str | None:
    """Returns which metadata file of a data set is missing or damaged, and why; None if all are intact."""
    data_dir = os.path.expanduser(config.data_dir or str(tfds.core.constants.DATA_DIR))
    name = re.split("[/:]", config.dataset)[0]
    if not name:
        return None
    try:
        for folder, _, names in tf.io.gfile.walk(os.path.join(data_dir, name)):
            if set(names).isdisjoint(_TFDS_FILES):
                continue
            for file_name, field in _TFDS_FILES.items():
                path = os.path.join(folder, file_name)
                if file_name not in names:
                    return f"{path} is missing"
                reason = _damage(path, field)
                if reason is not None:
                    return f"{path} is damaged: {reason}"
    except (OSError, tf.errors.OpError) as error:
        return f"{data_dir} cannot be read: {reason_of(error)}"
    return None


def _damage(path: str, field: str) -> str | None:
    """Returns why a file is not a JSON object with a given field, or None if it is."""
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            content = json.loads(file.read())
    except ValueError as error:
        return reason_of(error)
    return None if isinstance(content, dict) and field in content else f"expected an object with '{field}'"


def feature_keys(builder: tfds.core.DatasetBuilder, name: str) -> tuple[str, str | None]:
    """Returns the names of the image feature and of the label feature, which is None if there is no such feature.

    Args:
        builder: builder of the data set.
        name: name of the data set, for error messages.

    Raises:
        UserError: the data set does not have exactly one image feature, has several label features, its images do not
            have 1 or 3 channels, or its number of classes is unknown.
    """
    features = builder.info.features
    if not isinstance(features, tfds.features.FeaturesDict):
        raise UserError(f"data set '{name}' must have named features, found {type(features).__name__}")
    images, labels = (_candidates(builder, is_kind) for is_kind in (_is_image, _is_label))
    if len(images) != 1:
        kinds = ", ".join(f"{key} ({type(feature).__name__})" for key, feature in sorted(features.items()))
        raise UserError(
            f"data set '{name}' must have exactly one Image feature (or float32 Tensor of square RGB images, encoded "
            f"as bytes), found {', '.join(images) or f'none among {kinds}'}"
        )
    if len(labels) > 1:
        raise UserError(f"data set '{name}' must have at most one ClassLabel feature, found {', '.join(labels)}")
    (image_key,), label_key = images, labels[0] if labels else None
    channels = features[image_key].shape[-1]
    if channels not in (1, 3):
        raise UserError(f"data set '{name}' must have images with 1 or 3 channels, found {channels}")
    if label_key is not None and not features[label_key].num_classes:
        raise UserError(f"data set '{name}' must define the number of classes of '{label_key}', found none")
    return image_key, label_key


def _candidates(builder: tfds.core.DatasetBuilder, is_kind: Callable[[Any], bool]) -> list[str]:
    """Returns the names of the features of a kind; of the supervised ones only, if there are any."""
    candidates = [key for key, feature in builder.info.features.items() if is_kind(feature)]
    return [key for key in builder.info.supervised_keys or () if key in candidates] or candidates


def _is_image(feature: Any) -> bool:
    return isinstance(feature, tfds.features.Image) or is_preprocessed(feature)


def _is_label(feature: Any) -> bool:
    return isinstance(feature, tfds.features.ClassLabel)


def read_preparation_record(folder: str) -> dict[str, Any] | None:
    """Returns the record that ``hamgan prepare`` wrote, or None if the data set was prepared by other means.

    Args:
        folder: folder of the data set.

    Raises:
        UserError: the file is damaged or cannot be read.
    """
    path = os.path.join(folder, PREPARATION_RECORD)
    try:
        if not tf.io.gfile.exists(path):
            return None
        with tf.io.gfile.GFile(path, "rb") as file:
            record = json.loads(file.read())
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise _damaged_record(path, reason_of(error)) from error
    if not isinstance(record, dict):
        raise _damaged_record(path, f"expected an object, found {type(record).__name__}")
    for field, kinds in _RECORD_FIELDS.items():
        if field not in record or not isinstance(record[field], kinds):
            raise _damaged_record(path, f"expected '{field}'")
    if not all(isinstance(problem, dict) and "kind" in problem for problem in record["problems"]):
        raise _damaged_record(path, "expected every entry of 'problems' to have a 'kind'")
    if record["subset"] is not None and not {"synsets", "per_class"} <= record["subset"].keys():
        raise _damaged_record(path, "expected 'synsets' and 'per_class' in 'subset'")
    return record


def _damaged_record(path: str, reason: str) -> UserError:
    return UserError(
        f"{path} is damaged: {reason}; copy or prepare the data set again, or, if its records are intact, delete this "
        "file: it only describes how they were prepared"
    )


def describe_subset(record: dict[str, Any] | None) -> str | None:
    """Returns how a data set was limited to a subset, or None if it was not.

    Args:
        record: result of :func:`read_preparation_record`.
    """
    subset = record["subset"] if record is not None else None
    if not subset:
        return None
    limits = []
    if subset["synsets"] is not None:
        limits.append(f"{len(subset['synsets'])} of 1,000 classes")
    if subset["per_class"] is not None:
        limits.append(f"at most {counted(subset['per_class'], 'image')} per class")
    return ", ".join(limits)
