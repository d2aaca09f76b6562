"""What ``hamgan prepare`` notes beside the records of a data set."""

import json
import os
from typing import Any

import tensorflow as tf

RECORD_NAME = "preparation.json"
"""In the data set's folder, beside TFDS's own ``dataset_info.json``."""


def read_preparation_record(folder: str) -> dict[str, Any] | None:
    """Returns what was noted when a data set was prepared, or None if somebody else prepared it."""
    path = os.path.join(folder, RECORD_NAME)
    if not tf.io.gfile.exists(path):
        return None
    with tf.io.gfile.GFile(path) as file:
        return json.loads(file.read())


def describe_subset(record: dict[str, Any] | None) -> str | None:
    """Returns in what way a data set is a subset, or None if it is not one."""
    subset = record and record["subset"]
    if not subset:
        return None
    parts = []
    if subset["synsets"] is not None:
        parts.append(f"{len(subset['synsets'])} of 1,000 classes")
    if subset["per_class"] is not None:
        parts.append(f"at most {subset['per_class']} images of a class")
    return ", ".join(parts)
