"""What ``hamgan prepare`` notes beside the records of a data set."""

import json
import os
from typing import Any

import tensorflow as tf

from hamgan.errors import UserError, reason_of

RECORD_NAME = "preparation.json"
"""In the data set's folder, beside TFDS's own ``dataset_info.json``."""

_FIELDS: dict[str, tuple[type, ...]] = {"plan": (str,), "subset": (dict, type(None)), "problems": (list,)}
"""What is read of it."""


def read_preparation_record(folder: str) -> dict[str, Any] | None:
    """Returns what was noted when a data set was prepared, or None if somebody else prepared it.

    Raises:
        UserError: the file is damaged, or cannot be read.
    """
    path = os.path.join(folder, RECORD_NAME)
    try:
        if not tf.io.gfile.exists(path):
            return None
        with tf.io.gfile.GFile(path, "rb") as file:
            record = json.loads(file.read())
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise _damaged(path, reason_of(error)) from error
    if not isinstance(record, dict):
        raise _damaged(path, f"expected an object, found {type(record).__name__}")
    for field, kinds in _FIELDS.items():
        if field not in record or not isinstance(record[field], kinds):
            raise _damaged(path, f"expected '{field}'")
    if not all(isinstance(problem, dict) and "kind" in problem for problem in record["problems"]):
        raise _damaged(path, "expected a 'kind' of each of the 'problems'")
    if record["subset"] is not None and not {"synsets", "per_class"} <= record["subset"].keys():
        raise _damaged(path, "expected 'synsets' and 'per_class' in 'subset'")
    return record


def _damaged(path: str, reason: str) -> UserError:
    return UserError(
        f"{path} is damaged: {reason}; copy the data set or prepare it again, or, if its records are whole, remove "
        "this file, which only says how they were prepared"
    )


def describe_subset(record: dict[str, Any] | None) -> str | None:
    """Returns in what way a data set is a subset, or None if it is not one."""
    subset = record["subset"] if record is not None else None
    if not subset:
        return None
    parts = []
    if subset["synsets"] is not None:
        parts.append(f"{len(subset['synsets'])} of 1,000 classes")
    if subset["per_class"] is not None:
        parts.append(f"at most {subset['per_class']} images of a class")
    return ", ".join(parts)
