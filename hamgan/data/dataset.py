"""Batches of images and labels from any prepared TFDS classification data set."""

import logging
from typing import Any

import tensorflow as tf

from hamgan.data.class_counts import cached_label_counts
from hamgan.data.content_digest import cached_content_sha256
from hamgan.data.examples import ExampleDecoder, check_label
from hamgan.data.metadata import feature_keys
from hamgan.data.parts_cache import DEFAULT_CACHE
from hamgan.data.record_dataset import RecordDataset, batched
from hamgan.data.records import first_records
from hamgan.errors import UserError

_logger = logging.getLogger(__name__)


class ClassificationDataset(RecordDataset):
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

    def _open_features(self) -> None:
        name = self.config.dataset
        self.image_key, self.label_key = feature_keys(self.builder, name)
        self.class_names = [name]
        if self.label_key is None:
            _logger.info("Data set %s has no ClassLabel feature: all images are of one class", name)
        else:
            self.class_names = list(self.builder.info.features[self.label_key].names)
        self._decoder = ExampleDecoder(self.builder, self.image_key, self.label_key, name)
        self._digests: dict[tuple[str, int], str] = {}
        self._class_counts: dict[str, list[int]] = {}

    def _check_examples(self, records: tf.data.Dataset, split: str) -> None:
        self._decoder.check_first(records, split)

    @property
    def image_size(self) -> tuple[int | None, int | None]:
        """Height and width of the stored images; None if they differ."""
        height, width, _ = self.builder.info.features[self.image_key].shape
        return height, width

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
        records, share = self._training_records(
            batch=batch,
            seed=seed,
            skip_examples=skip_examples,
            host=host,
            num_hosts=num_hosts,
            batches_per_host=batches_per_host,
        )
        return self._batches(records, self.config.train_split, resolution, channels, share, drop_remainder=True)

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
        records = self._stored_records(split, first, last)
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

        return batched(records, prepare, batch, drop_remainder=drop_remainder)

    def _check_resolution(self, resolution: int) -> None:
        name, stored = self.config.dataset, self.builder.info.features[self.image_key].shape[0]
        if self._decoder.is_preprocessed and stored != resolution:
            raise UserError(
                f"data set '{name}' holds images preprocessed to {stored}x{stored}, but model.resolution is "
                f"{resolution}; use '{name.replace(str(stored), str(resolution))}', or override model.resolution"
            )
