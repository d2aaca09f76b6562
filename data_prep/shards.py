"""The unit of work: one record file of one split, in every form asked for.

Which images a shard has, and in which order, is known before any image is read: TFDS shuffles by a hash of the file
name. So shards are written independently, in any order and on any machine, and need no second pass.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import uuid
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core.hashing import Hasher
from tensorflow_datasets.core.utils.shard_utils import ShardConfig, get_shard_boundaries

from data_prep import storage
from data_prep.forms import Form
from data_prep.ilsvrc import label_of_validation_name, synset_of_train_name, synsets
from data_prep.photograph import DamagedImageError, check_and_repair
from data_prep.problems import Problem
from data_prep.sources import Listing, read_images

RECORD_FORMAT = 1
"""Part of every fingerprint: to be raised when the records of the same images come to differ."""

RESULTS_FOLDER = "shards"
TEMPORARY_SUFFIX = ".tmp"
_TYPICAL_RECORD_OVERHEAD = 64
_REPORT_EVERY = 16
_FEW_UNREADABLE = 10
"""More than these (and more than one in a hundred) of a shard are not bad spots but a disk that has gone away."""


@dataclasses.dataclass(frozen=True)
class Shard:
    """One record file to be written.

    Args:
        split: "train" or "validation".
        index, count: which of how many.
        images: array of dtype ``data_prep.sources.IMAGE``, in the records' order.
        containers: paths of the tars and folders that they lie in.
        check: how images are checked, one of ``data_prep.photograph.CHECKS``.
    """

    split: str
    index: int
    count: int
    images: np.ndarray
    containers: Mapping[int, str]
    check: str = "structure"

    @property
    def name(self) -> str:
        """Such as ``train-00003-of-01024``."""
        return f"{self.split}-{self.index:05d}-of-{self.count:05d}"


class Target(NamedTuple):
    """A form, and the folder that its records are written to until all are there."""

    form: Form
    folder: str

    def records_path(self, shard: Shard) -> str:
        """Returns where the shard's records go, by TFDS's naming."""
        template = tfds.core.ShardedFileTemplate(
            data_dir=self.folder,
            dataset_name=self.form.name.partition("/")[0],
            split=shard.split,
            filetype_suffix="tfrecord",
        )
        name = os.path.basename(template.sharded_filepath(shard_index=shard.index, num_shards=shard.count))
        return storage.join(self.folder, name)

    def result_path(self, shard: Shard) -> str:
        """Returns where it is noted that the shard is complete."""
        return storage.join(self.folder, RESULTS_FOLDER, f"{shard.name}.json")


class ShardResult(NamedTuple):
    """What a finished shard holds: ``num_bytes`` without, ``file_bytes`` with the framing of TFRecord files."""

    num_examples: int
    num_bytes: int
    file_bytes: int
    problems: list[Problem]


def plan_shards(
    split: str, listing: Listing, *, per_class: int | None = None, check: str = "structure"
) -> tuple[list[Shard], list[Problem]]:
    """Divides a split's images into shards, as the stock TFDS builder would.

    Args:
        split: "train" or "validation".
        listing: the images.
        per_class: how many of each class to take, those that come first; None for all.
        check: how images are to be checked.

    Returns:
        The shards, and the images whose name another of their class has, which are in none.
    """
    keys = _order_keys(split, listing.images)
    # Of images of a class with the same name, the one that lies first is kept.
    order = np.lexsort((listing.images["offset"], listing.images["container"], keys[:, 1], keys[:, 0]))
    images, keys = listing.images[order], keys[order]
    repeated = np.zeros(len(images), bool)
    repeated[1:] = (keys[1:] == keys[:-1]).all(axis=1)
    problems = [
        Problem(split, "duplicate_name", image_name(image), listing.containers[image["container"]])
        for image in images[repeated]
    ]
    images = images[~repeated]
    if per_class is not None:
        images = images[_rank_within_class(images["label"]) < per_class]
    if not len(images):
        return [], problems
    name_bytes = np.char.str_len(images["name"])
    total = int(images["size"].sum() + name_bytes.sum()) + _TYPICAL_RECORD_OVERHEAD * len(images)
    count = ShardConfig.calculate_number_shards(total, len(images))
    parts = np.split(images, get_shard_boundaries(len(images), count)[:-1])
    shards = []
    for index, part in enumerate(parts):
        containers = {int(number): listing.containers[number] for number in np.unique(part["container"])}
        shards.append(Shard(split, index, count, part, containers, check))
    return shards, problems


def _order_keys(split: str, images: np.ndarray) -> np.ndarray:
    """TFDS's hash of each file name, ``(n, 2)``; of a name that several classes have, the hash of "SYNSET/NAME".

    So images have the same key only if they have the same class and name.
    """
    names, labels = images["name"].tolist(), images["label"].tolist()
    label_of: dict[bytes, int] = {}
    shared = {name for name, label in zip(names, labels, strict=True) if label_of.setdefault(name, label) != label}
    hasher = Hasher(split)
    hashes = b"".join(
        hasher.hash_key(b"%s/%s" % (synsets()[label].encode(), name) if name in shared else name).to_bytes(16, "big")
        for name, label in zip(names, labels, strict=True)
    )
    return np.frombuffer(hashes, ">u8").reshape(-1, 2)


def image_name(image: np.void) -> str:
    """Returns what to call an image: its file's name, after its class unless the name says it."""
    name, synset = image["name"].decode(errors="replace"), synsets()[image["label"]]
    says_its_class = synset_of_train_name(name) == synset or label_of_validation_name(name) is not None
    return name if says_its_class else f"{synset}/{name}"


def _rank_within_class(labels: np.ndarray) -> np.ndarray:
    """How many of the same label come before each."""
    order = np.argsort(labels, kind="stable")
    sorted_labels = labels[order]
    ranks = np.empty(len(labels), np.int64)
    ranks[order] = np.arange(len(labels)) - np.searchsorted(sorted_labels, sorted_labels)
    return ranks


def finished(shard: Shard, target: Target) -> ShardResult | None:
    """Returns the result of a shard that is complete, from the same images in the same form; None if it is not."""
    try:
        noted = json.loads(storage.read_text(target.result_path(shard)))
        if noted["fingerprint"] != fingerprint(shard, target.form):
            return None
        if storage.status(target.records_path(shard)).size != noted["file_bytes"]:
            return None
        problems = [Problem(**problem) for problem in noted["problems"]]
        return ShardResult(noted["num_examples"], noted["num_bytes"], noted["file_bytes"], problems)
    except (OSError, tf.errors.OpError, ValueError, KeyError, TypeError):
        return None


def write_shard(shard: Shard, targets: list[Target], progress: Callable[[int], Any] = lambda images: None) -> None:
    """Writes the shard's records in each form in which they are not complete, and notes that they are.

    Args:
        shard: what to write.
        targets: the forms and their folders, which exist.
        progress: is called with the number of images done since it was called last.

    Raises:
        OSError, tf.errors.OpError: the records cannot be written, or many of the images cannot be read.
    """
    pending = [target for target in targets if finished(shard, target) is None]
    if not pending:
        progress(len(shard.images))
        return
    problems: list[Problem] = []
    unreadable = 0
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(_RecordFile(target.records_path(shard))) for target in pending]
        contents = read_images(shard.images, shard.containers)
        for index, (image, content) in enumerate(zip(shard.images, contents, strict=True)):
            if index % _REPORT_EVERY == 0 and index:
                progress(_REPORT_EVERY)
            name = image["name"]
            where = image_name(image)
            if isinstance(content, OSError):
                problems.append(Problem(shard.split, "unreadable", where, content.strerror or str(content)))
                unreadable += 1
                if unreadable > max(_FEW_UNREADABLE, len(shard.images) // 100):
                    raise OSError(f"{unreadable} images of {shard.name} cannot be read, such as {where}: {content}")
                continue
            try:
                jpeg, kind, detail = check_and_repair(content, shard.check)
            except DamagedImageError as error:
                problems.append(Problem(shard.split, "damaged", where, str(error)))
                continue
            if kind is not None:
                problems.append(Problem(shard.split, kind, where, detail))
            for target, file in zip(pending, files, strict=True):
                file.write(target.form.record(name, int(image["label"]), jpeg))
    for target, file in zip(pending, files, strict=True):
        storage.move_into_place(file.temporary, file.path)
        noted = {
            "fingerprint": fingerprint(shard, target.form),
            "num_examples": file.num_examples,
            "num_bytes": file.num_bytes,
            "file_bytes": storage.status(file.path).size,
            "problems": [dataclasses.asdict(problem) for problem in problems],
        }
        storage.write_text(target.result_path(shard), json.dumps(noted))
    progress((len(shard.images) - 1) % _REPORT_EVERY + 1)


def fingerprint(shard: Shard, form: Form) -> str:
    """Returns a digest of all that the shard's records depend on."""
    images = shard.images.copy()
    images["container"] = 0  # numbers that depend on the order of listing
    digest = hashlib.sha256(f"{RECORD_FORMAT} {form.name} {shard.name} {shard.check} ".encode())
    digest.update(images.tobytes())
    return digest.hexdigest()


class _RecordFile(contextlib.AbstractContextManager["_RecordFile"]):
    """A TFRecord file under a name of its own until it is complete; nothing is left of one that fails."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.temporary = f"{path}.{uuid.uuid4().hex}{TEMPORARY_SUFFIX}"
        self.num_examples = 0
        self.num_bytes = 0
        self._writer = tf.io.TFRecordWriter(self.temporary)

    def write(self, record: bytes) -> None:
        self._writer.write(record)
        self.num_examples += 1
        self.num_bytes += len(record)

    def __exit__(self, kind: object, *_: object) -> None:
        self._writer.close()
        if kind is not None:
            storage.remove(self.temporary)
