"""Opening a prepared TFDS data set, and saying in one line why one cannot be opened."""

import json
import os
import re
from typing import Any

import tensorflow as tf
import tensorflow_datasets as tfds
from google.protobuf import json_format  # type: ignore[import-untyped]

from hamgan.config import DataConfig
from hamgan.data.examples import is_preprocessed
from hamgan.errors import UserError, reason_of

_REMEDY = "prepare it ('hamgan prepare' or TFDS) or pass --data_dir"
_METADATA = {"dataset_info.json": "version", "features.json": "pythonClassName"}
"""TFDS's own files beside the records, and a field that each of them has."""
FAILURES = (
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
"""What TFDS raises for data sets that are not there, and for metadata that is damaged in one way or another."""


def open_dataset(config: DataConfig) -> tfds.core.DatasetBuilder:
    """Returns the builder of a prepared data set stored as TFRecord files.

    Raises:
        UserError: there is no such data set, it is not prepared, its metadata is damaged, or it is stored otherwise.
    """
    where = config.data_dir or "TFDS's default folder"
    try:
        builder = tfds.builder(config.dataset, data_dir=config.data_dir)
        splits, file_format = builder.info.splits, builder.info.file_format
    except FAILURES as error:
        _refuse_damaged(config, error)
        if isinstance(error, tfds.core.DatasetNotFoundError):
            raise UserError(f"no data set '{config.dataset}' in {where}: {_REMEDY}") from error
        of_file = "dataset_info.json: " if isinstance(error, json_format.Error) else ""
        raise UserError(
            f"data set '{config.dataset}' in {where} cannot be opened: {of_file}{reason_of(error)}"
        ) from error
    if not splits:
        _refuse_damaged(config)
        raise UserError(f"data set '{config.dataset}' is known but not prepared in {where}: {_REMEDY}")
    if file_format != tfds.core.FileFormat.TFRECORD:
        raise UserError(
            f"data set '{config.dataset}' is stored as {file_format.value}; expected tfrecord: "
            "prepare it with file_format='tfrecord'"
        )
    return builder


def _refuse_damaged(config: DataConfig, error: Exception | None = None) -> None:
    damage = damaged_metadata(config)
    if damage is not None:
        raise UserError(f"data set '{config.dataset}' cannot be opened: {damage}; prepare it again") from error


def damaged_metadata(config: DataConfig) -> str | None:
    """Returns which of TFDS's files below a data set's folder is missing or damaged, and how; None if none is."""
    data_dir = os.path.expanduser(config.data_dir or str(tfds.core.constants.DATA_DIR))
    name = re.split("[/:]", config.dataset)[0]
    if not name:
        return None
    try:
        for folder, _, names in tf.io.gfile.walk(os.path.join(data_dir, name)):
            if set(names).isdisjoint(_METADATA):
                continue
            for file_name, field in _METADATA.items():
                path = os.path.join(folder, file_name)
                if file_name not in names:
                    return f"{path} is missing"
                reason = _not_an_object_with(field, path)
                if reason is not None:
                    return f"{path} is damaged: {reason}"
    except (OSError, tf.errors.OpError) as error:
        return f"{data_dir} cannot be read: {reason_of(error)}"
    return None


def _not_an_object_with(field: str, path: str) -> str | None:
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            content = json.loads(file.read())
    except ValueError as error:
        return reason_of(error)
    return None if isinstance(content, dict) and field in content else f"expected an object with '{field}'"


def feature_keys(builder: tfds.core.DatasetBuilder, name: str) -> tuple[str, str]:
    """Returns the names of the image and the label feature.

    Args:
        builder: the data set.
        name: what to call it in errors.

    Raises:
        UserError: it has not exactly one of each, or they are not what training needs.
    """
    features = builder.info.features
    if not isinstance(features, tfds.features.FeaturesDict):
        raise UserError(f"data set '{name}' must have named features, found {type(features).__name__}")
    keys: list[str] = []
    for kind, is_kind, alternative in (
        ("Image", _is_image, " (or float32 Tensor of square RGB images, encoded as bytes)"),
        ("ClassLabel", _is_label, ""),
    ):
        candidates = [key for key, feature in features.items() if is_kind(feature)]
        supervised = [key for key in builder.info.supervised_keys or () if key in candidates]
        candidates = supervised or candidates
        if len(candidates) != 1:
            kinds = ", ".join(f"{key} ({type(feature).__name__})" for key, feature in sorted(features.items()))
            raise UserError(
                f"data set '{name}' must have exactly one {kind} feature{alternative} to be trained on, found "
                f"{', '.join(candidates) or f'none among {kinds}'}"
            )
        keys.append(candidates[0])
    channels = features[keys[0]].shape[-1]
    if channels not in (1, 3):
        raise UserError(f"data set '{name}' must have images of 1 or 3 channels, found {channels}")
    if not features[keys[1]].num_classes:
        raise UserError(f"data set '{name}' must say how many classes '{keys[1]}' has, found none")
    return keys[0], keys[1]


def _is_image(feature: Any) -> bool:
    return isinstance(feature, tfds.features.Image) or is_preprocessed(feature)


def _is_label(feature: Any) -> bool:
    return isinstance(feature, tfds.features.ClassLabel)
