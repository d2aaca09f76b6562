"""TFRecord files: reads parts of them, and names the file behind a read error."""

import concurrent.futures
import logging
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf

from hamgan.data.examples import label_error_in
from hamgan.errors import reason_of

_logger = logging.getLogger(__name__)

_MAX_OPEN_FILES = 16
_FILE_ERRORS = (OSError, tf.errors.DataLossError, tf.errors.FailedPreconditionError, tf.errors.NotFoundError)
"""Errors caused by record files that are damaged, too short or missing."""
_EXAMPLE_ERRORS = (tf.errors.InvalidArgumentError, tf.errors.PermissionDeniedError)


class RecordPart(NamedTuple):
    """A range of records in one TFRecord file.

    Args:
        path: path of the file.
        skip: number of records before the range.
        take: number of records in the range.
    """

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
    """Returns a dataset of ``(path, skip, take)`` elements, the arguments of :func:`read_part`."""
    paths, skips, takes = zip(*parts, strict=True)
    return tf.data.Dataset.from_tensor_slices(
        (tf.constant(paths, tf.string), tf.constant(skips, tf.int64), tf.constant(takes, tf.int64))
    )


def read_part(path: tf.Tensor, skip: tf.Tensor, take: tf.Tensor) -> tf.data.Dataset:
    """Returns the serialized records of one part. Iterating raises an error if the file has fewer records."""
    records = tf.data.TFRecordDataset(path).skip(skip).take(take)
    return records.apply(tf.data.experimental.assert_cardinality(take))


def read_parts(parts: Sequence[RecordPart]) -> tf.data.Dataset:
    """Returns the serialized records of all parts, in order."""
    # One file at a time: with interleaving, the order would depend on the number of files.
    return part_elements(parts).flat_map(read_part)


def missing_files(parts: Sequence[RecordPart]) -> list[str]:
    """Returns the paths of the files that do not exist.

    Raises:
        OSError, tf.errors.OpError: a folder cannot be read.
    """
    folders = {os.path.dirname(part.path) for part in parts}
    # One listing per folder: in a bucket, a check per file would cost a request each.
    names = {folder: set(tf.io.gfile.listdir(folder)) for folder in folders}
    return [part.path for part in parts if os.path.basename(part.path) not in names[os.path.dirname(part.path)]]


def find_damage(parts: Sequence[RecordPart]) -> str | None:
    """Returns the path of the first damaged file and what is wrong with it, or None if all records can be read.

    Reads all files. TensorFlow's own errors give the position within a file, but not which file it is.
    """
    with concurrent.futures.ThreadPoolExecutor(_MAX_OPEN_FILES) as threads:
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


def explain_read_error(
    error: Exception, name: str, folder: str, parts: Mapping[str, Sequence[RecordPart]]
) -> str | None:
    """Returns a one-line message if an error was caused by reading a data set, or None if it was not.

    Args:
        error: error raised by TensorFlow or Python.
        name: name of the data set.
        folder: folder of the data set.
        parts: record files of each split; they may all be read to find the damaged one.
    """
    if isinstance(error, tf.errors.OpError):
        label_error = label_error_in(error.message)
        if label_error is not None:
            return label_error
        # A training step raises its own errors through the same call; errors of its input name the iterator.
        if "GetNext" not in error.message and folder not in error.message:
            return None
    elif not (isinstance(error, OSError) and str(error.filename).startswith(folder)):
        return None
    if isinstance(error, _FILE_ERRORS):
        _logger.info("Searching data set %s for the damaged record file", name)
        for split, files in parts.items():
            damage = find_damage(files)
            if damage is not None:
                return f"data set {name}, split {split}: {damage}; copy the file or prepare the data set again"
    elif not isinstance(error, _EXAMPLE_ERRORS):
        return None
    return f"data set {name} in {folder} cannot be read: {reason_of(error)}; copy or prepare it again"
