"""A prepared TFDS data set that is read record by record: its splits, files, order and errors."""

import abc
import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from hamgan.config import DataConfig
from hamgan.counted import counted
from hamgan.data.examples import CHECKED_EXAMPLES
from hamgan.data.metadata import describe_subset, open_dataset, read_preparation_record
from hamgan.data.records import RecordPart, explain_read_error, first_records, missing_files, read_parts
from hamgan.data.splits import with_splits
from hamgan.data.streams import shuffled_records
from hamgan.errors import UserError

_logger = logging.getLogger(__name__)


class RecordDataset(abc.ABC):
    """A prepared TFDS data set of images, each with a class or a mask of classes.

    Args:
        config: name of the data set, its folder and its splits. Splits that are ``FROM_DATASET`` are chosen by
            :func:`hamgan.data.splits.with_splits`.

    Attributes:
        config: config with both splits.
        class_names: name of each class, set by the subclass.

    Raises:
        UserError: the data set does not exist, is not prepared, is damaged or is not stored as TFRecord files; files
            or a split are missing; a split is empty; or its features are not those that the subclass reads.
    """

    class_names: list[str]

    def __init__(self, config: DataConfig) -> None:
        self.builder = open_dataset(config)
        self.config = config = with_splits(config, self.builder.info.splits)
        self._folder = os.fspath(self.builder.data_path)
        self._configured_splits = tuple(dict.fromkeys((config.train_split, config.validation_split)))
        self._checked_splits: set[str] = set()
        self._open_features()
        subset = describe_subset(read_preparation_record(self._folder))
        if subset:
            _logger.warning("Data set %s in %s is a subset: %s", config.dataset, self._folder, subset)
        for split in self._configured_splits:
            self._check_split(split)

    @abc.abstractmethod
    def _open_features(self) -> None:
        """Finds the features to read; raises UserError if there are others."""

    @abc.abstractmethod
    def _check_examples(self, records: tf.data.Dataset, split: str) -> None:
        """Raises UserError if the first examples of a split have unexpected values."""

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

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
                f"data set '{self.config.dataset}' is missing {counted(len(missing), 'record file')} of split "
                f"'{split}', such as {missing[0]}; copy them again or prepare the data set again"
            )

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

    def _training_records(
        self, *, batch: int, seed: int, skip_examples: int, host: int, num_hosts: int, batches_per_host: int
    ) -> tuple[tf.data.Dataset, int]:
        """Returns one host's share of the endless, shuffled training records, and the number of them in each batch.

        For a given batch size, the order depends on the seed alone. It is the same for any number of hosts and in a
        resumed run (:func:`hamgan.data.streams.shuffled_records`).

        Args:
            batch: images per batch, summed over all hosts.
            seed: seed of the order, below 2^31.
            skip_examples: number of examples to skip, a multiple of ``batch``.
            host: index of this host.
            num_hosts: number of hosts that share each batch.
            batches_per_host: number of equal batches to split the host's share into, one per local replica.

        Raises:
            ValueError: ``batch`` does not divide ``skip_examples``, or is not divisible by the number of parts.
        """
        if skip_examples % batch or batch % (num_hosts * batches_per_host):
            raise ValueError(
                "skip_examples must be a multiple of batch, and batch a multiple of num_hosts * batches_per_host, "
                f"received {skip_examples}, {batch}, {num_hosts} * {batches_per_host}"
            )
        records = shuffled_records(
            self._parts(self.config.train_split),
            batch=batch,
            seed=seed,
            shuffle_buffer=self.config.shuffle_buffer,
            skip_examples=skip_examples,
            host=host,
            num_hosts=num_hosts,
        )
        return records, batch // num_hosts // batches_per_host

    def _stored_records(self, split: str, first: int, last: int | None) -> tf.data.Dataset:
        """Returns the records ``first`` to ``last - 1`` of a split, in stored order; the end wraps around."""
        records = read_parts(self._parts(split))
        size = self.num_examples(split)
        count = (size if last is None else last) - first
        return records.repeat().skip(first).take(count).apply(tf.data.experimental.assert_cardinality(count))

    def _check_first_examples(self, split: str) -> None:
        """Checks the first examples of a split, once, before its batches are read."""
        if split not in self._checked_splits:
            with self.reading(split):
                self._check_examples(read_parts(first_records(self._parts(split), CHECKED_EXAMPLES)), split)
            self._checked_splits.add(split)

    @contextlib.contextmanager
    def reading(self, *splits: str) -> Iterator[None]:
        """Converts read errors of this data set, raised within the ``with`` block, to a UserError.

        Wrap all code that iterates over the batches of the data set, including a training function that iterates
        inside a graph. Other errors pass through.

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


def batched(
    dataset: tf.data.Dataset, decode: Callable[..., Any], batch: int, *, drop_remainder: bool
) -> tf.data.Dataset:
    """Returns decoded batches of the elements of a data set, prefetched.

    Args:
        dataset: serialized examples, or tuples that begin with them.
        decode: function that decodes one element.
        batch: elements per batch.
        drop_remainder: whether to leave out a last, smaller batch.
    """
    # map() before batch(): with deterministic ops enabled, TensorFlow runs a map over batches on a single core.
    # Without AutoGraph, whose conversion takes longer than the rest of the start.
    examples = dataset.map(tf.autograph.experimental.do_not_convert(decode), tf.data.AUTOTUNE)
    return examples.batch(batch, drop_remainder=drop_remainder).prefetch(tf.data.AUTOTUNE)
