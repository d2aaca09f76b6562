"""Any prepared TFDS classification data set, as batches of images and labels."""

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from hamgan.config import DataConfig
from hamgan.data.content_digest import DEFAULT_CACHE, RecordPart, cached_content_sha256, first_records
from hamgan.data.preparation_record import describe_subset, read_preparation_record
from hamgan.data.preprocessing import preprocess
from hamgan.errors import UserError, reason_of

_logger = logging.getLogger(__name__)

READ_PARALLELISM = 16
"""Record files that are read side by side, at least."""
MAX_STREAMS = 64
"""Into how many streams the files are dealt out at most: as many hosts can read files of their own."""
EVEN_STREAMS = 0.99
"""How large the smallest stream must be at least, as a part of the largest: it is seen as often."""


class ClassificationDataset:
    """A prepared TFDS data set with one image and one class label per example.

    Images are photographs of any size, or float32 tensors that are preprocessed already (``imagenet_hamgan``).

    Args:
        config: names the data set, its folder and its splits.

    Raises:
        UserError: there is no such data set, it is not prepared, lacks a split, has no image and label feature, or is
            not stored as TFRecord files.
    """

    def __init__(self, config: DataConfig) -> None:
        self.config = config
        self.builder = _open(config)
        self.image_key, self.label_key = _feature_keys(self.builder, config.dataset)
        subset = describe_subset(read_preparation_record(os.fspath(self.builder.data_path)))
        if subset:
            _logger.warning("Data set %s in %s is a subset: %s", config.dataset, self.builder.data_path, subset)
        self._digests: dict[tuple[str, int], str] = {}
        self.num_classes: int = self.builder.info.features[self.label_key].num_classes
        for split in (config.train_split, config.validation_split):
            self.num_examples(split)

    def num_examples(self, split: str) -> int:
        """Returns the number of examples in a split.

        Raises:
            UserError: there is no such split.
        """
        try:
            return self.builder.info.splits[split].num_examples
        except (KeyError, ValueError) as error:
            known = ", ".join(self.builder.info.splits)
            raise UserError(f"data set '{self.config.dataset}' has no split '{split}'; it has {known}") from error

    def identity(self, split: str, count: int | None = None, cache_dir: str = DEFAULT_CACHE) -> dict[str, Any]:
        """Returns what identifies a split's content, wherever and however it was prepared.

        "name", "version", "split"; "examples", the number of examples in the split; "sha256", the digest of the first
        ``count`` images and labels in stored order (:func:`hamgan.data.content_digest.content_sha256`).

        Args:
            split: the split.
            count: number of examples to digest; all if None or if there are fewer.
            cache_dir: local folder in which digests are kept.

        Raises:
            UserError: there is no such split, or its records cannot be read.
        """
        size = self.num_examples(split)
        digested = size if count is None else min(count, size)
        if (split, digested) not in self._digests:
            parts = first_records(self._parts(split), digested)
            self._digests[split, digested] = cached_content_sha256(parts, self.image_key, self.label_key, cache_dir)
        return {
            "name": self.config.dataset,
            "version": str(self.builder.info.version),
            "split": split,
            "examples": size,
            "sha256": self._digests[split, digested],
        }

    def provenance(self, split: str) -> dict[str, Any]:
        """Returns where a split comes from, to be recorded beside results; no part of its identity.

        "folder"; "record_files", their number; "preparation", the digest of the plan of ``hamgan prepare`` or None;
        "described_sha256", the digest of file names, sizes and preparation record that earlier versions took for the
        split's identity.
        """
        files = [(os.path.basename(part.path), part.skip, part.take) for part in self._parts(split)]
        sizes = [self.builder.info.splits[name].num_bytes for name in sorted(self.builder.info.splits)]
        record = read_preparation_record(os.fspath(self.builder.data_path))
        description = json.dumps([files, sizes, record], sort_keys=True)
        return {
            "folder": os.fspath(self.builder.data_path),
            "record_files": len(files),
            "preparation": record and record["plan"],
            "described_sha256": hashlib.sha256(description.encode()).hexdigest(),
        }

    def _parts(self, split: str) -> list[RecordPart]:
        files = self.builder.info.splits[split].file_instructions
        return [RecordPart(file.filename, file.skip, file.take) for file in files]

    def training_batches(
        self,
        *,
        resolution: int,
        batch: int,
        seed: int,
        skip_examples: int = 0,
        host: int = 0,
        num_hosts: int = 1,
        batches_per_host: int = 1,
    ) -> tf.data.Dataset:
        """Returns endless shuffled batches, or one host's share of them.

        The record files are dealt out to streams, as many as the files and the batch allow (at most 64), and each
        stream fills its own rows of every batch; so hosts that own different streams read different files, and the
        batches are the same however many hosts there are. A stream's order in its epoch e is a function of (seed,
        stream, e): files are shuffled, read side by side, and their records shuffled in a buffer. So it can be entered
        anywhere: whole epochs are passed over without reading them, and the rest of one without decoding it.

        Args:
            resolution: height and width of the images.
            batch: images per batch, of all hosts together.
            seed: of the order.
            skip_examples: where to start, a multiple of ``batch``.
            host: index of this host.
            num_hosts: how many share the batch.
            batches_per_host: how many batches the host's share comes in, one for each of its replicas.

        Returns:
            Float32 images in [-1, 1], ``(n, resolution, resolution, 3)``, and int32 labels, ``(n,)``, where n is
            ``batch / num_hosts / batches_per_host``.
        """
        split = self.config.train_split
        files = self._parts(split)
        if self.num_examples(split) == 0:
            raise UserError(f"split '{split}' of data set '{self.config.dataset}' is empty")
        if skip_examples % batch or batch % (num_hosts * batches_per_host):
            raise ValueError(
                "skip_examples must be a multiple of the batch, and the batch of its parts, "
                f"received {skip_examples}, {batch}, {num_hosts} x {batches_per_host}"
            )
        num_streams = _num_streams([file.take for file in files], batch)
        rows = batch // num_streams

        def read_stream(stream: tf.Tensor) -> tf.data.Dataset:
            return self._read_stream(stream, num_streams, seed=seed, skip_examples=skip_examples // num_streams)

        def read_streams(first: int, last: int) -> tf.data.Dataset:
            streams = tf.data.Dataset.range(first, last)
            if last - first == 1:
                return streams.flat_map(read_stream)
            return streams.interleave(
                read_stream,
                cycle_length=last - first,
                block_length=rows,
                num_parallel_calls=tf.data.AUTOTUNE,
                deterministic=True,
            )

        if num_streams % num_hosts == 0:
            own = num_streams // num_hosts
            records = read_streams(host * own, (host + 1) * own)
        else:
            # Too few files: every host reads all records, and decodes those that are its own.
            share = batch // num_hosts
            whole = read_streams(0, num_streams).batch(batch, drop_remainder=True)
            records = whole.map(lambda rows: rows[host * share : (host + 1) * share]).unbatch()
        return self._batches(records, resolution, batch // num_hosts // batches_per_host, drop_remainder=True)

    def _read_stream(self, stream: tf.Tensor, num_streams: int, *, seed: int, skip_examples: int) -> tf.data.Dataset:
        """The serialized records of one stream, endless, from its example ``skip_examples`` on."""
        files = self._parts(self.config.train_split)
        sizes = [sum(file.take for file in files[first::num_streams]) for first in range(num_streams)]
        size = tf.gather(tf.constant(sizes, tf.int64), stream)
        own_files = _file_parts(files).shard(num_streams, stream)
        parallelism = max(1, READ_PARALLELISM // num_streams)

        def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
            # shuffle() mixes in the seed of the graph being traced, by default the process's: set it for this graph.
            tf.compat.v1.set_random_seed(1)
            # Seeds are below 2^31.
            key = tf.stack([tf.bitwise.left_shift(stream, tf.constant(32, tf.int64)) + seed, epoch])
            epoch_seed = tf.random.stateless_uniform((), key, 1, tf.int64.max, tf.int64, alg="philox")
            return (
                own_files.shuffle(len(files), seed=epoch_seed, reshuffle_each_iteration=False)
                .interleave(
                    _read,
                    cycle_length=parallelism,
                    num_parallel_calls=tf.data.AUTOTUNE if parallelism > 1 else None,
                )
                .shuffle(
                    max(1, self.config.shuffle_buffer // num_streams),
                    seed=epoch_seed,
                    reshuffle_each_iteration=False,
                )
            )

        epochs = tf.data.Dataset.range(skip_examples // size, tf.int64.max)
        return epochs.flat_map(one_epoch).skip(skip_examples % size)

    def evaluation_batches(
        self, split: str, *, resolution: int, batch: int, first: int = 0, last: int | None = None
    ) -> tf.data.Dataset:
        """Returns a split's examples ``first`` to ``last - 1`` in stored order, the last batch possibly smaller.

        After the split's end it begins again. TFDS shuffles when it writes, so the first examples are a random subset.

        Args:
            split: of the data set.
            resolution: height and width of the images.
            batch: images per batch.
            first: where to begin.
            last: where to end; at the split's end if None.
        """
        # One file after another: interleaving would make the order depend on the number of files.
        records = _file_parts(self._parts(split)).flat_map(_read)
        size = self.num_examples(split)
        count = (size if last is None else last) - first
        records = records.repeat().skip(first).take(count).apply(tf.data.experimental.assert_cardinality(count))
        return self._batches(records, resolution, batch, drop_remainder=False)

    def _batches(
        self, records: tf.data.Dataset, resolution: int, batch: int, *, drop_remainder: bool
    ) -> tf.data.Dataset:
        feature = self.builder.info.features[self.image_key]
        if _is_preprocessed(feature):
            self._check_resolution(resolution)
            decode = self._decode_preprocessed
        else:
            decode = self._decode_photograph

        def prepare(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return decode(record, resolution)

        # Mapped before it is batched: where TensorFlow is to be deterministic, it runs a map of batches on one core.
        dataset = records.map(prepare, tf.data.AUTOTUNE)
        return dataset.batch(batch, drop_remainder=drop_remainder).prefetch(tf.data.AUTOTUNE)

    def _decode_photograph(self, record: tf.Tensor, resolution: int) -> tuple[tf.Tensor, tf.Tensor]:
        example = self.builder.info.features.deserialize_example(record)
        return preprocess(example[self.image_key], resolution), tf.cast(example[self.label_key], tf.int32)

    def _decode_preprocessed(self, record: tf.Tensor, resolution: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Only what is needed: of so small a task, TFDS's general decoding is a large part."""
        features = {
            self.image_key: tf.io.FixedLenFeature((), tf.string),
            self.label_key: tf.io.FixedLenFeature((), tf.int64),
        }
        example = tf.io.parse_single_example(record, features)
        image = tf.reshape(tf.io.decode_raw(example[self.image_key], tf.float32), (resolution, resolution, 3))
        return image, tf.cast(example[self.label_key], tf.int32)

    def _check_resolution(self, resolution: int) -> None:
        name, stored = self.config.dataset, self.builder.info.features[self.image_key].shape[0]
        if stored != resolution:
            raise UserError(
                f"data set '{name}' holds images preprocessed to {stored}x{stored}, but model.resolution is "
                f"{resolution}: use '{name.replace(str(stored), str(resolution))}', or override model.resolution"
            )


def _num_streams(file_sizes: Sequence[int], batch: int) -> int:
    """The largest power of two of streams with equal rows of the batch and about equal shares of the files."""
    num_streams = MAX_STREAMS
    while num_streams > 1:
        if batch % num_streams == 0 and len(file_sizes) >= num_streams:
            sizes = [sum(file_sizes[first::num_streams]) for first in range(num_streams)]
            if min(sizes) >= EVEN_STREAMS * max(sizes):
                break
        num_streams //= 2
    return num_streams


def _file_parts(files: Sequence[RecordPart]) -> tf.data.Dataset:
    """TFDS's file instructions as elements that :func:`_read` takes."""
    return tf.data.Dataset.from_tensor_slices(
        (
            [file.path for file in files],
            [tf.cast(file.skip, tf.int64) for file in files],
            [tf.cast(file.take, tf.int64) for file in files],
        )
    )


def _read(name: tf.Tensor, skip: tf.Tensor, take: tf.Tensor) -> tf.data.Dataset:
    """The serialized records of one part of a file."""
    return tf.data.TFRecordDataset(name).skip(skip).take(take)


def _open(config: DataConfig) -> tfds.core.DatasetBuilder:
    where = config.data_dir or "TFDS's default folder"
    remedy = "prepare it ('hamgan prepare' or TFDS) or pass --data_dir"
    try:
        builder = tfds.builder(config.dataset, data_dir=config.data_dir)
    except tfds.core.DatasetNotFoundError as error:
        raise UserError(f"no data set '{config.dataset}' in {where}: {remedy}") from error
    except (AssertionError, ValueError) as error:
        raise UserError(f"data set '{config.dataset}' in {where} cannot be opened: {reason_of(error)}") from error
    if not builder.info.splits:
        raise UserError(f"data set '{config.dataset}' is known but not prepared in {where}: {remedy}")
    if builder.info.file_format != tfds.core.FileFormat.TFRECORD:
        raise UserError(
            f"data set '{config.dataset}' is stored as {builder.info.file_format.value}; expected tfrecord: "
            "prepare it with file_format='tfrecord'"
        )
    return builder


def _feature_keys(builder: tfds.core.DatasetBuilder, name: str) -> tuple[str, str]:
    """The names of the image and the label feature."""
    features = builder.info.features
    keys: list[str] = []
    for kind, is_kind in (("Image", _is_image), ("ClassLabel", _is_label)):
        candidates = [key for key, feature in features.items() if is_kind(feature)]
        supervised = [key for key in builder.info.supervised_keys or () if key in candidates]
        candidates = supervised or candidates
        if len(candidates) != 1:
            found = ", ".join(candidates) or f"none among {', '.join(features)}"
            raise UserError(f"data set '{name}' must have exactly one {kind} feature to be trained on, found {found}")
        keys.append(candidates[0])
    channels = features[keys[0]].shape[-1]
    if channels not in (1, 3):
        raise UserError(f"data set '{name}' must have images of 1 or 3 channels, found {channels}")
    return keys[0], keys[1]


def _is_image(feature: tfds.features.FeatureConnector) -> bool:
    return isinstance(feature, tfds.features.Image) or _is_preprocessed(feature)


def _is_label(feature: tfds.features.FeatureConnector) -> bool:
    return isinstance(feature, tfds.features.ClassLabel)


def _is_preprocessed(feature: tfds.features.FeatureConnector) -> bool:
    """Whether it holds square RGB images as the networks see them: the bytes of float32 numbers."""
    shape = feature.shape
    return (
        type(feature) is tfds.features.Tensor
        and feature.to_json_content().encoding == tfds.features.Encoding.BYTES.value
        and feature.np_dtype == np.float32
        and len(shape) == 3
        and shape[0] is not None
        and shape[0] == shape[1]
        and shape[2] == 3
    )
