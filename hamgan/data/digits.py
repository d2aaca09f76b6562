"""The built-in data set: scikit-learn's handwritten digits as TFDS records."""

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import sklearn.datasets
import tensorflow as tf
import tensorflow_datasets as tfds

from hamgan.config import DataConfig
from hamgan.data.dataset import ClassificationDataset
from hamgan.data.metadata import TFDS_ERRORS, damaged_metadata
from hamgan.errors import UserError, reason_of

RESOLUTION = 32
NUM_CLASSES = 10
VALIDATION_EVERY = 5
"""Every fifth image of each class goes to the validation split."""


class Digits(tfds.core.GeneratorBasedBuilder):
    """1,797 handwritten digits in ten classes, bicubically upsampled from 8x8 to 32x32 RGB."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First version."}

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            description=self.__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(RESOLUTION, RESOLUTION, 3), encoding_format="png"),
                    "label": tfds.features.ClassLabel(num_classes=NUM_CLASSES),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
        )

    def _split_generators(self, _dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        images, labels = _upsampled_digits()
        index_in_class = np.zeros(len(labels), np.int64)
        for label in range(NUM_CLASSES):
            members = labels == label
            index_in_class[members] = np.arange(members.sum())
        validation = index_in_class % VALIDATION_EVERY == VALIDATION_EVERY - 1
        return {
            "train": self._generate_examples(images, labels, np.flatnonzero(~validation)),
            "validation": self._generate_examples(images, labels, np.flatnonzero(validation)),
        }

    def _generate_examples(
        self, images: np.ndarray, labels: np.ndarray, indices: np.ndarray
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        for index in indices:
            yield int(index), {"image": images[index], "label": int(labels[index])}


def _upsampled_digits() -> tuple[np.ndarray, np.ndarray]:
    """Returns uint8 images, white on black, shape ``(n, 32, 32, 3)``, and their labels, shape ``(n,)``."""
    source = sklearn.datasets.load_digits()
    brightest = 16.0
    gray = tf.constant(source.images[..., np.newaxis] * (255.0 / brightest), tf.float32)
    upsampled = tf.image.resize(gray, (RESOLUTION, RESOLUTION), method="bicubic")
    rounded = tf.cast(tf.round(tf.clip_by_value(upsampled, 0.0, 255.0)), tf.uint8)
    return np.repeat(rounded.numpy(), 3, axis=-1), source.target


def prepare_digits(data_dir: str) -> tfds.core.DatasetBuilder:
    """Writes the records of the digits, unless they exist already.

    Args:
        data_dir: folder of TFDS data sets, local or ``gs://``.

    Returns:
        The builder of the data set.

    Raises:
        UserError: ``data_dir`` is not writable, or the existing records are damaged.
    """
    config = DataConfig(Digits.name, data_dir)
    try:
        builder = Digits(data_dir=data_dir)
        builder.download_and_prepare(file_format="tfrecord")
    except TFDS_ERRORS as error:
        damage = damaged_metadata(config)
        advice = "delete that data set" if damage else "pass another --data_dir"
        raise UserError(f"cannot prepare the digits in {data_dir}: {damage or reason_of(error)}; {advice}") from error
    ClassificationDataset(config)  # Checks that existing records are complete.
    return builder
