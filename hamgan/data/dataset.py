"""Any prepared TFDS classification data set, as batches of images and labels."""

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

from hamgan.config import DataConfig
from hamgan.data.content_digest import DEFAULT_CACHE, cached_content_sha256
from hamgan.data.examples import CHECKED_EXAMPLES, ExampleDecoder
from hamgan.data.opening import feature_keys, open_dataset
from hamgan.data.preparation_record import describe_subset, read_preparation_record
from hamgan.data.reading_errors import explained
from hamgan.data.records import (
    RecordPart,
    first_records,
    missing_files,
    part_elements,
    read_part,
    read_parts,
)
from hamgan.errors import UserError

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
        config: name of the data set, its folder and its splits.

    Raises:
        UserError: there is no such data set, it is not prepared or damaged, lacks files or a split, a split is empty,
            it has no image and label feature, or is not stored as TFRecord files.
    """

    def __init__(self, config: DataConfig) -> None:
        self.config = config
        self.builder = open_dataset(config)
        self.image_key, self.label_key = feature_keys(self.builder, config.dataset)
        self.num_classes: int = self.builder.info.features[self.label_key].num_classes
        self._folder = os.fspath(self.builder.data_path)
        self._decoder = ExampleDecoder(self.builder, self.image_key, self.label_key, config.dataset)
        self._configured_splits = tuple(dict.fromkeys((config.train_split, config.validation_split)))
        self._checked_splits: set[str] = set()
        self._digests: dict[tuple[str, int], str] = {}
        subset = describe_subset(read_preparation_record(self._folder))
        if subset:
            _logger.warning("Data set %s in %s is a subset: %s", config.dataset, self._folder, subset)
        for split in self._configured_splits:
            self._check_split(split)

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

    def _check_split(self, split: str) -> None:
        """Raises UserError unless a split has examples and all its files are there."""
        if self.num_examples(split) < 1:
            raise UserError(
                f"split '{split}' of data set '{self.config.dataset}' is empty; choose a split with examples, or "
                "prepare the data set again"
            )
        with self.reading(split):
            missing = missing_files(self._parts(split))
        if missing:
            raise UserError(
                f"data set '{self.config.dataset}' lacks {len(missing)} record files of split '{split}', such as "
                f"{missing[0]}; copy them again, or prepare the data set again"
            )

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
            with self.reading(split):
                digest = cached_content_sha256(parts, self.image_key, self.label_key, cache_dir)
            self._digests[split, digested] = digest
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
        record = read_preparation_record(self._folder)
        description = json.dumps([files, sizes, record], sort_keys=True)
        return {
            "folder": self._folder,
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
            seed: seed of the order.
            skip_examples: number of examples to pass over, a multiple of ``batch``.
            host: index of this host.
            num_hosts: number of hosts that share the batch.
            batches_per_host: number of batches that the host's share comes in, one for each of its replicas.

        Returns:
            Float32 images in [-1, 1], ``(n, resolution, resolution, 3)``, and int32 labels, ``(n,)``, where n is
            ``batch / num_hosts / batches_per_host``.
        """
        split = self.config.train_split
        files = self._parts(split)
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
        return self._batches(records, split, resolution, batch // num_hosts // batches_per_host, drop_remainder=True)

    def _read_stream(self, stream: tf.Tensor, num_streams: int, *, seed: int, skip_examples: int) -> tf.data.Dataset:
        """The serialized records of one stream, endless, from its example ``skip_examples`` on."""
        files = self._parts(self.config.train_split)
        sizes = [sum(file.take for file in files[first::num_streams]) for first in range(num_streams)]
        size = tf.gather(tf.constant(sizes, tf.int64), stream)
        own_files = part_elements(files).shard(num_streams, stream)
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
                    read_part,
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
            split: the split.
            resolution: height and width of the images.
            batch: images per batch.
            first: index of the first example.
            last: index after the last example; the split's end if None.
        """
        records = read_parts(self._parts(split))
        size = self.num_examples(split)
        count = (size if last is None else last) - first
        records = records.repeat().skip(first).take(count).apply(tf.data.experimental.assert_cardinality(count))
        return self._batches(records, split, resolution, batch, drop_remainder=False)

    def _batches(
        self, records: tf.data.Dataset, split: str, resolution: int, batch: int, *, drop_remainder: bool
    ) -> tf.data.Dataset:
        self._check_resolution(resolution)
        self._check_first_examples(split)

        def prepare(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return self._decoder.decode(record, split, resolution)

        # Mapped before it is batched: where TensorFlow is to be deterministic, it runs a map of batches on one core.
        dataset = records.map(prepare, tf.data.AUTOTUNE)
        return dataset.batch(batch, drop_remainder=drop_remainder).prefetch(tf.data.AUTOTUNE)

    def _check_first_examples(self, split: str) -> None:
        """Looks at a split's pixels and labels once, before anything is read from it."""
        if split not in self._checked_splits:
            with self.reading(split):
                self._decoder.check_first(read_parts(first_records(self._parts(split), CHECKED_EXAMPLES)), split)
            self._checked_splits.add(split)

    @contextlib.contextmanager
    def reading(self, *splits: str) -> Iterator[None]:
        """Turns errors of reading this data set, inside of the ``with`` block, into one line that says what is wrong.

        Wrap everything that takes elements of :meth:`training_batches` or :meth:`evaluation_batches`, a training
        function that does so inside of a graph included. Other errors pass through.

        Args:
            splits: what is being read; the configured ones if none is given. After an error their files are searched
                for the damaged one, which reads them all.

        Raises:
            UserError: a record file is damaged or missing, an example does not decode, or a label is no class.
        """
        try:
            yield
        except (OSError, tf.errors.OpError) as error:
            reason = self.explained(error, *splits)
            if reason is None:
                raise
            raise UserError(reason) from error

    def explained(self, error: Exception, *splits: str) -> str | None:
        """Returns in one line what is wrong with this data set, or None if an error is not one of reading it.

        Args:
            error: what TensorFlow or Python raised.
            splits: what was being read; the configured ones if none is given. Their files may be read to find the
                damaged one.
        """
        parts = {split: self._parts(split) for split in splits or self._configured_splits}
        return explained(error, self.config.dataset, self._folder, parts)

    def _check_resolution(self, resolution: int) -> None:
        name, stored = self.config.dataset, self.builder.info.features[self.image_key].shape[0]
        if self._decoder.is_preprocessed and stored != resolution:
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
