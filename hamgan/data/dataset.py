"""Batches of images and labels from any prepared TFDS classification data set."""

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from hamgan.config import DataConfig
from hamgan.data.class_counts import cached_label_counts
from hamgan.data.content_digest import cached_content_sha256
from hamgan.data.examples import CHECKED_EXAMPLES, ExampleDecoder, check_label
from hamgan.data.metadata import describe_subset, feature_keys, open_dataset, read_preparation_record
from hamgan.data.parts_cache import DEFAULT_CACHE
from hamgan.data.records import RecordPart, explain_read_error, first_records, missing_files, read_parts
from hamgan.data.splits import with_splits
from hamgan.data.streams import shuffled_records
from hamgan.errors import UserError

_logger = logging.getLogger(__name__)


class ClassificationDataset:
    """A prepared TFDS data set with one image and at most one class label per example.

    A data set without labels has a single class, which is named like the data set.

    Images are stored either as photographs of any size or as preprocessed float32 tensors (``imagenet_hamgan``).

    Args:
        config: name of the data set, its folder and its splits. Splits that are ``FROM_DATASET`` are chosen by
            :func:`hamgan.data.splits.with_splits`.

    Attributes:
        config: config with both splits.
        num_classes: number of classes.
        class_names: name of each class.

    Raises:
        UserError: the data set does not exist, is not prepared, is damaged or is not stored as TFRecord files; files
            or a split are missing; a split is empty; or there is not exactly one image feature, or more than one label
            feature.
    """

    def __init__(self, config: DataConfig) -> None:
        self.builder = open_dataset(config)
        self.config = config = with_splits(config, self.builder.info.splits)
        self.image_key, self.label_key = feature_keys(self.builder, config.dataset)
        self.class_names: list[str] = [config.dataset]
        if self.label_key is None:
            _logger.info("Data set %s has no ClassLabel feature: all images are of one class", config.dataset)
        else:
            self.class_names = list(self.builder.info.features[self.label_key].names)
        self.num_classes = len(self.class_names)
        self._folder = os.fspath(self.builder.data_path)
        self._decoder = ExampleDecoder(self.builder, self.image_key, self.label_key, config.dataset)
        self._configured_splits = tuple(dict.fromkeys((config.train_split, config.validation_split)))
        self._checked_splits: set[str] = set()
        self._digests: dict[tuple[str, int], str] = {}
        self._class_counts: dict[str, list[int]] = {}
        subset = describe_subset(read_preparation_record(self._folder))
        if subset:
            _logger.warning("Data set %s in %s is a subset: %s", config.dataset, self._folder, subset)
        for split in self._configured_splits:
            self._check_split(split)

    @property
    def image_size(self) -> tuple[int | None, int | None]:
        """Height and width of the stored images; None if they differ."""
        height, width, _ = self.builder.info.features[self.image_key].shape
        return height, width

    def num_examples(self, split: str) -> int:
        """Returns the number of examples in a split.

        Raises:
            UserError: the split does not exist.
        """
        try:
            return self.builder.info.splits[split].num_examples
        except (KeyError, ValueError) as error:
            known = ", ".join(self.builder.info.splits)
            raise UserError(f"data set '{self.config.dataset}' has no split '{split}'; it has {known}") from error

    def _check_split(self, split: str) -> None:
        """Raises UserError if a split is empty or any of its files is missing."""
        if self.num_examples(split) < 1:
            raise UserError(
                f"split '{split}' of data set '{self.config.dataset}' is empty; choose another split or "
                "prepare the data set again"
            )
        with self.reading(split):
            missing = missing_files(self._parts(split))
        if missing:
            raise UserError(
                f"data set '{self.config.dataset}' is missing {len(missing)} record files of split '{split}', such as "
                f"{missing[0]}; copy them again or prepare the data set again"
            )

    def identity(self, split: str, count: int | None = None, cache_dir: str = DEFAULT_CACHE) -> dict[str, Any]:
        """Returns the identity of a split's content, which does not depend on where or how it was prepared.

        Args:
            split: name of the split.
            count: number of examples to hash; None for all.
            cache_dir: local folder that digests are cached in.

        Returns:
            "name", "version" and "split"; "examples", the number of examples in the split; and "sha256", the digest of
            the first ``count`` images and labels in stored order
            (:func:`hamgan.data.content_digest.content_sha256`).

        Raises:
            UserError: the split does not exist, or its records cannot be read.
        """
        size = self.num_examples(split)
        num_hashed = size if count is None else min(count, size)
        if (split, num_hashed) not in self._digests:
            parts = first_records(self._parts(split), num_hashed)
            with self.reading(split):
                digest = cached_content_sha256(parts, self.image_key, self.label_key, cache_dir)
            self._digests[split, num_hashed] = digest
        return {
            "name": self.config.dataset,
            "version": str(self.builder.info.version),
            "split": split,
            "examples": size,
            "sha256": self._digests[split, num_hashed],
        }

    def class_counts(self, split: str, cache_dir: str = DEFAULT_CACHE) -> list[int]:
        """Returns the number of examples of each class in a split.

        Args:
            split: name of the split.
            cache_dir: local folder that counts are cached in.

        Raises:
            UserError: the split does not exist, its records cannot be read, or a label is out of range.
        """
        size = self.num_examples(split)
        if self.label_key is None:
            return [size]
        if split not in self._class_counts:
            with self.reading(split):
                counts = cached_label_counts(self._parts(split), self.label_key, cache_dir)
            for label in counts:
                check_label(label, self.num_classes, self.config.dataset, split)
            self._class_counts[split] = [counts.get(label, 0) for label in range(self.num_classes)]
        return self._class_counts[split]

    def provenance(self, split: str) -> dict[str, Any]:
        """Returns where a split was read from, to record beside results. It is not part of the split's identity.

        Returns:
            "folder"; "record_files", the number of files; "preparation", the plan digest of ``hamgan prepare`` or None;
            and "described_sha256", a digest of file names, sizes and preparation record, which earlier versions used
            as the split's identity.
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
        channels: int = 3,
        skip_examples: int = 0,
        host: int = 0,
        num_hosts: int = 1,
        batches_per_host: int = 1,
    ) -> tf.data.Dataset:
        """Returns endless shuffled batches of the training split, or one host's share of them.

        For a given batch size, the order depends on the seed alone. It is the same for any number of hosts and in a
        resumed run (:func:`hamgan.data.streams.shuffled_records`).

        Args:
            resolution: height and width of the images, in pixels.
            batch: images per batch, summed over all hosts.
            seed: seed of the order, below 2^31.
            channels: number of channels of the images: 3 for RGB, 1 for gray. Stored images are converted by
                :func:`hamgan.data.preprocessing.with_channels`.
            skip_examples: number of examples to skip, a multiple of ``batch``.
            host: index of this host.
            num_hosts: number of hosts that share each batch.
            batches_per_host: number of equal batches to split the host's share into, one per local replica.

        Returns:
            Float32 images in [-1, 1], shape ``(n, resolution, resolution, channels)``, and int32 labels, shape
            ``(n,)``, with ``n = batch / num_hosts / batches_per_host``.

        Raises:
            UserError: the first examples have unexpected pixels or labels, or the images are stored at another
                resolution.
            ValueError: ``batch`` does not divide ``skip_examples``, or is not divisible by the number of parts.
        """
        split = self.config.train_split
        if skip_examples % batch or batch % (num_hosts * batches_per_host):
            raise ValueError(
                "skip_examples must be a multiple of batch, and batch a multiple of num_hosts * batches_per_host, "
                f"received {skip_examples}, {batch}, {num_hosts} * {batches_per_host}"
            )
        records = shuffled_records(
            self._parts(split),
            batch=batch,
            seed=seed,
            shuffle_buffer=self.config.shuffle_buffer,
            skip_examples=skip_examples,
            host=host,
            num_hosts=num_hosts,
        )
        share = batch // num_hosts // batches_per_host
        return self._batches(records, split, resolution, channels, share, drop_remainder=True)

    def evaluation_batches(
        self,
        split: str,
        *,
        resolution: int,
        batch: int,
        channels: int = 3,
        first: int = 0,
        last: int | None = None,
    ) -> tf.data.Dataset:
        """Returns the examples ``first`` to ``last - 1`` of a split, in stored order.

        Indices beyond the end of the split wrap around. TFDS shuffles examples when it writes them, so the first n
        examples are a random subset.

        Args:
            split: name of the split.
            resolution: height and width of the images, in pixels.
            batch: images per batch; the last batch may be smaller.
            channels: number of channels of the images, as in :meth:`training_batches`.
            first: index of the first example.
            last: index after the last example; None for the end of the split.

        Returns:
            Float32 images in [-1, 1], shape ``(n, resolution, resolution, channels)``, and int32 labels, shape
            ``(n,)``.

        Raises:
            UserError: the split does not exist, its first examples have unexpected pixels or labels, or its images are
                stored at another resolution.
        """
        records = read_parts(self._parts(split))
        size = self.num_examples(split)
        count = (size if last is None else last) - first
        records = records.repeat().skip(first).take(count).apply(tf.data.experimental.assert_cardinality(count))
        return self._batches(records, split, resolution, channels, batch, drop_remainder=False)

    def _batches(
        self,
        records: tf.data.Dataset,
        split: str,
        resolution: int,
        channels: int,
        batch: int,
        *,
        drop_remainder: bool,
    ) -> tf.data.Dataset:
        self._check_resolution(resolution)
        self._check_first_examples(split)

        def prepare(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return self._decoder.decode(record, split, resolution, channels)

        # map() before batch(): with deterministic ops enabled, TensorFlow runs a map over batches on a single core.
        dataset = records.map(prepare, tf.data.AUTOTUNE)
        return dataset.batch(batch, drop_remainder=drop_remainder).prefetch(tf.data.AUTOTUNE)

    def _check_first_examples(self, split: str) -> None:
        """Checks the first pixels and labels of a split, once, before its batches are read."""
        if split not in self._checked_splits:
            with self.reading(split):
                self._decoder.check_first(read_parts(first_records(self._parts(split), CHECKED_EXAMPLES)), split)
            self._checked_splits.add(split)

    @contextlib.contextmanager
    def reading(self, *splits: str) -> Iterator[None]:
        """Converts read errors of this data set, raised within the ``with`` block, to a UserError.

        Wrap all code that iterates over :meth:`training_batches` or :meth:`evaluation_batches`, including a training
        function that iterates inside a graph. Other errors pass through.

        Args:
            splits: names of the splits that are read; by default the configured ones. After an error, all their files
                are read to find the damaged one.

        Raises:
            UserError: a record file is damaged or missing, an example cannot be decoded, or a label is out of range.
        """
        try:
            yield
        except (OSError, tf.errors.OpError) as error:
            reason = self.explained(error, *splits)
            if reason is None:
                raise
            raise UserError(reason) from error

    def explained(self, error: Exception, *splits: str) -> str | None:
        """Returns a one-line message if an error was caused by reading this data set, or None if it was not.

        Args:
            error: error raised by TensorFlow or Python.
            splits: names of the splits that were read; by default the configured ones. All their files may be read to
                find the damaged one.
        """
        parts = {split: self._parts(split) for split in splits or self._configured_splits}
        return explain_read_error(error, self.config.dataset, self._folder, parts)

    def _check_resolution(self, resolution: int) -> None:
        name, stored = self.config.dataset, self.builder.info.features[self.image_key].shape[0]
        if self._decoder.is_preprocessed and stored != resolution:
            raise UserError(
                f"data set '{name}' holds images preprocessed to {stored}x{stored}, but model.resolution is "
                f"{resolution}; use '{name.replace(str(stored), str(resolution))}', or override model.resolution"
            )
