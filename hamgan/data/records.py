"""TFRecord files: reading parts of them, and saying which is missing or damaged."""

import concurrent.futures
import os
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from hamgan.errors import reason_of

_FILES_AT_ONCE = 16


class RecordPart(NamedTuple):
    """``take`` records of a TFRecord file, after the first ``skip``."""

    path: str
    skip: int
    take: int


def first_records(parts: Sequence[RecordPart], count: int) -> list[RecordPart]:
    """Returns the parts that hold the first ``count`` records."""
    kept = []
    for part in parts:
        if count <= 0:
            break
        kept.append(part._replace(take=min(part.take, count)))
        count -= part.take
    return kept


def part_elements(parts: Sequence[RecordPart]) -> tf.data.Dataset:
    """Returns parts as elements that :func:`read_part` takes."""
    paths, skips, takes = zip(*parts, strict=True)
    return tf.data.Dataset.from_tensor_slices(
        (tf.constant(paths, tf.string), tf.constant(skips, tf.int64), tf.constant(takes, tf.int64))
    )


def read_part(path: tf.Tensor, skip: tf.Tensor, take: tf.Tensor) -> tf.data.Dataset:
    """Returns the serialized records of one part; a file with fewer records is an error when its end is reached."""
    records = tf.data.TFRecordDataset(path).skip(skip).take(take)
    return records.apply(tf.data.experimental.assert_cardinality(take))


def read_parts(parts: Sequence[RecordPart]) -> tf.data.Dataset:
    """Returns the serialized records of all parts, in their order."""
    # One file after another: interleaving would make the order depend on the number of files.
    return part_elements(parts).flat_map(read_part)


def missing_files(parts: Sequence[RecordPart]) -> list[str]:
    """Returns the files that are not in their folders.

    Raises:
        OSError, tf.errors.OpError: a folder cannot be read.
    """
    folders = {os.path.dirname(part.path) for part in parts}
    # One question a folder: in a bucket, each file would cost a message.
    there = {folder: set(tf.io.gfile.listdir(folder)) for folder in folders}
    return [part.path for part in parts if os.path.basename(part.path) not in there[os.path.dirname(part.path)]]


def find_damage(parts: Sequence[RecordPart]) -> str | None:
    """Returns which file is damaged and how, or None if all records can be read; reads all files.

    TensorFlow's errors say where in a file the damage is, and not in which file.
    """
    with concurrent.futures.ThreadPoolExecutor(_FILES_AT_ONCE) as threads:
        checks = [threads.submit(_damage, part) for part in parts]
        for part, check in zip(parts, checks, strict=True):
            damage = check.result()
            if damage is not None:
                threads.shutdown(cancel_futures=True)
                return f"{part.path}: {damage}"
    return None


def _damage(part: RecordPart) -> str | None:
    expected = part.skip + part.take
    try:
        records = tf.data.TFRecordDataset(part.path).take(expected)
        found = int(records.reduce(tf.constant(0, tf.int64), lambda count, _: count + 1))
    except tf.errors.OpError as error:
        return reason_of(error)
    return None if found == expected else f"expected {expected:,} records, found {found:,}"
