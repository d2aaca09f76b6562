"""Shards: plans them, and writes one record file of one split in every requested form.

The images of a shard and their order are known before any image is read, because TFDS shuffles by a hash of the file
name. Shards can therefore be written independently, in any order and on any machine, in a single pass.
"""

import collections
import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core.hashing import Hasher
from tensorflow_datasets.core.utils.shard_utils import get_shard_boundaries

from data_prep import storage
from data_prep.collection import Conversion, DamagedImageError
from data_prep.forms import Form
from data_prep.listing import Listing
from data_prep.problems import Problem
from data_prep.reading import read_images
from hamgan.files import atomic_file, write_atomically

RECORD_FORMAT = 1
"""Version of the record format, part of every fingerprint. Increase it when the same images give other records."""

RESULTS_FOLDER = "shards"
_PROGRESS_INTERVAL = 16
_MAX_UNREADABLE = 10
"""Maximum number of unreadable images in a shard (or 1% of it, if that is more). With more, the disk has failed."""


@dataclasses.dataclass(frozen=True)
class Shard:
    """One record file to write.

    Args:
        split: "train" or "validation".
        index: index of the shard.
        count: number of shards of the split.
        images: images in the order of the records, a part of ``Listing.images``.
        containers: path of each tar or folder that holds the images, by the images' "container".
        conversion: conversion of the images.
    """

    split: str
    index: int
    count: int
    images: np.ndarray
    containers: Mapping[int, str]
    conversion: Conversion

    @property
    def name(self) -> str:
        """Name of the shard, such as ``train-00003-of-01024``."""
        return f"{self.split}-{self.index:05d}-of-{self.count:05d}"


class Target(NamedTuple):
    """A form to write, and where.

    Args:
        form: form to write.
        folder: folder that holds the records until the data set is complete.
    """

    form: Form
    folder: str

    def records_path(self, shard: Shard) -> str:
        """Returns the path of a shard's records, named as TFDS expects."""
        template = tfds.core.ShardedFileTemplate(
            data_dir=self.folder,
            dataset_name=self.form.name.partition("/")[0],
            split=shard.split,
            filetype_suffix="tfrecord",
        )
        name = os.path.basename(template.sharded_filepath(shard_index=shard.index, num_shards=shard.count))
        return storage.join(self.folder, name)

    def result_path(self, shard: Shard) -> str:
        """Returns the path of a shard's result file, which exists once the shard is finished."""
        return storage.join(self.folder, RESULTS_FOLDER, f"{shard.name}.json")


class ShardResult(NamedTuple):
    """The result of writing a shard.

    Args:
        num_examples: number of examples written.
        num_bytes: total size of the examples, in bytes.
        file_bytes: size of the TFRecord file, in bytes.
        problems: problems of the shard's images.
        per_class: number of examples written for each label that occurs.
    """

    num_examples: int
    num_bytes: int
    file_bytes: int
    problems: list[Problem]
    per_class: dict[int, int]


def plan_shards(
    split: str, listing: Listing, conversion: Conversion, *, per_class: int | None = None
) -> tuple[list[Shard], list[Problem]]:
    """Divides the images of a split into shards, in the same way as the stock TFDS builder.

    Args:
        split: "train" or "validation".
        listing: images of the split.
        conversion: conversion of the images.
        per_class: maximum number of images per class, the first ones in shuffled order; None for all.

    Returns:
        The shards, and a problem for each image that was left out because another one in its class has the same name.
    """
    keys = _order_keys(split, listing.images, conversion)
    # Among images with the same class and name, the first in its container comes first and is kept.
    order = np.lexsort((listing.images["offset"], listing.images["container"], keys[:, 1], keys[:, 0]))
    images, keys = listing.images[order], keys[order]
    repeated = np.zeros(len(images), bool)
    repeated[1:] = (keys[1:] == keys[:-1]).all(axis=1)
    problems = [
        Problem(split, "duplicate_name", conversion.image_name(image), listing.containers[image["container"]])
        for image in images[repeated]
    ]
    images = images[~repeated]
    if per_class is not None:
        images = images[_rank_within_class(images["label"]) < per_class]
    if not len(images):
        return [], problems
    count = conversion.num_shards(images)
    parts = np.split(images, get_shard_boundaries(len(images), count)[:-1])
    shards = []
    for index, part in enumerate(parts):
        numbers = np.unique(np.concatenate([files["container"] for files in conversion.files(part)]))
        containers = {int(number): listing.containers[number] for number in numbers}
        shards.append(Shard(split, index, count, part, containers, conversion))
    return shards, problems


def _order_keys(split: str, images: np.ndarray, conversion: Conversion) -> np.ndarray:
    """Returns the key that TFDS sorts each image by, a 128-bit hash, as uint64 of shape ``(n, 2)``.

    TFDS hashes the file name. Where several classes have a file of the same name, "CLASS/NAME" is hashed instead, so
    that keys are equal only for images with the same class and name.
    """
    names, labels = images["name"].tolist(), images["label"].tolist()
    label_of: dict[bytes, int] = {}
    shared = {name for name, label in zip(names, labels, strict=True) if label_of.setdefault(name, label) != label}
    hasher = Hasher(split)
    hashes = b"".join(
        hasher.hash_key(b"%s/%s" % (conversion.class_key(label), name) if name in shared else name).to_bytes(16, "big")
        for name, label in zip(names, labels, strict=True)
    )
    return np.frombuffer(hashes, ">u8").reshape(-1, 2)


def _rank_within_class(labels: np.ndarray) -> np.ndarray:
    """Returns how often each label occurs before its position."""
    order = np.argsort(labels, kind="stable")
    sorted_labels = labels[order]
    ranks = np.empty(len(labels), np.int64)
    ranks[order] = np.arange(len(labels)) - np.searchsorted(sorted_labels, sorted_labels)
    return ranks


def finished_result(shard: Shard, target: Target) -> ShardResult | None:
    """Returns the result of a shard, or None if it is unfinished or was written from other images."""
    try:
        saved = json.loads(storage.read_text(target.result_path(shard)))
        if saved["fingerprint"] != fingerprint(shard, target.form):
            return None
        if storage.status(target.records_path(shard)).size != saved["file_bytes"]:
            return None
        problems = [Problem(**problem) for problem in saved["problems"]]
        # Earlier versions did not count classes. Only the report of a folder of pictures needs these numbers.
        per_class = {int(label): count for label, count in saved.get("per_class", {}).items()}
        return ShardResult(saved["num_examples"], saved["num_bytes"], saved["file_bytes"], problems, per_class)
    except (OSError, tf.errors.OpError, ValueError, KeyError, TypeError):
        return None


def write_shard(shard: Shard, targets: list[Target], progress: Callable[[int], Any] = lambda images: None) -> None:
    """Writes a shard in each form in which it is not finished yet.

    Args:
        shard: shard to write.
        targets: forms to write, with their existing folders.
        progress: function that is called with the number of images processed since its last call.

    Raises:
        OSError, tf.errors.OpError: the records cannot be written, or too many images cannot be read.
    """
    pending = [target for target in targets if finished_result(shard, target) is None]
    if not pending:
        progress(len(shard.images))
        return
    problems: list[Problem] = []
    with contextlib.ExitStack() as stack:
        writers = {target: stack.enter_context(_open_writer(shard, target, problems)) for target in pending}
        for index, (image, converted) in enumerate(_converted_images(shard, problems)):
            if index % _PROGRESS_INTERVAL == 0 and index:
                progress(_PROGRESS_INTERVAL)
            if converted is not None:
                for target, writer in writers.items():
                    record = target.form.record(image["name"], int(image["label"]), converted)
                    writer.write(record, shard.conversion.labels(image))
    progress((len(shard.images) - 1) % _PROGRESS_INTERVAL + 1)


def _converted_images(shard: Shard, problems: list[Problem]) -> Iterator[tuple[np.void, Any]]:
    """Yields each image of a shard and its conversion, or None if it cannot be used; appends to ``problems``."""
    num_unreadable = 0
    files = (read_images(files, shard.containers) for files in shard.conversion.files(shard.images))
    for image, *contents in zip(shard.images, *files, strict=True):
        where = shard.conversion.image_name(image)
        converted = None
        error = next((content for content in contents if isinstance(content, OSError)), None)
        if error is not None:
            problems.append(Problem(shard.split, "unreadable", where, error.strerror or str(error)))
            num_unreadable += 1
            if num_unreadable > max(_MAX_UNREADABLE, len(shard.images) // 100):
                raise OSError(f"{num_unreadable} images of {shard.name} cannot be read, such as {where}: {error}")
        else:
            try:
                converted, kind, detail = shard.conversion.convert(image, contents)
                if kind is not None:
                    problems.append(Problem(shard.split, kind, where, detail))
            except DamagedImageError as error:
                problems.append(Problem(shard.split, "damaged", where, str(error)))
        yield image, converted


class _RecordWriter:
    """Counts the records and bytes that it writes to a TFRecord file."""

    def __init__(self, writer: tf.io.TFRecordWriter) -> None:
        self.num_examples = 0
        self.num_bytes = 0
        self.per_class: collections.Counter[int] = collections.Counter()
        self._writer = writer

    def write(self, record: bytes, labels: Iterable[int]) -> None:
        self._writer.write(record)
        self.per_class.update(labels)
        self.num_examples += 1
        self.num_bytes += len(record)


@contextlib.contextmanager
def _open_writer(shard: Shard, target: Target, problems: list[Problem]) -> Iterator[_RecordWriter]:
    """Yields a writer of a shard's records; at the end of the ``with`` block, saves the records and the result."""
    path = target.records_path(shard)
    with atomic_file(path) as temporary, tf.io.TFRecordWriter(temporary) as file:
        writer = _RecordWriter(file)
        yield writer
    result = {
        "fingerprint": fingerprint(shard, target.form),
        "num_examples": writer.num_examples,
        "num_bytes": writer.num_bytes,
        "file_bytes": storage.status(path).size,
        "problems": [dataclasses.asdict(problem) for problem in problems],
        "per_class": dict(sorted(writer.per_class.items())),
    }
    write_atomically(target.result_path(shard), json.dumps(result).encode())


def fingerprint(shard: Shard, form: Form) -> str:
    """Returns a digest of everything that the records of a shard depend on."""
    images = shard.images.copy()
    images["container"] = 0  # the index depends on the order of listing
    digest = hashlib.sha256(f"{RECORD_FORMAT} {form.name} {shard.name} {shard.conversion.settings} ".encode())
    digest.update(images.tobytes())
    return digest.hexdigest()
