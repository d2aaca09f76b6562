"""Decodes stored examples to images and labels, and checks their range."""

import re
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from hamgan.data.preprocessing import WHITE, preprocess, with_channels
from hamgan.errors import UserError

CHECKED_EXAMPLES = 32
"""Number of examples whose pixels and labels are checked before a split is read."""

_ROUNDING = 1e-3
_LABEL_ERROR = re.compile(r"assertion failed: \[(data set .*? found label .*?)\]\s*(?:\n|$)")


class _PixelRange(NamedTuple):
    """Range that the pixels of a data set must have.

    Args:
        low: smallest valid value.
        high: largest valid value.
        brightest_above: lower bound on the brightest pixel of several images.
        darkest_below: upper bound on the darkest pixel of several images.
    """

    low: float
    high: float
    brightest_above: float = -np.inf
    darkest_below: float = np.inf

    def accepts(self, darkest: float, brightest: float) -> bool:
        """Whether several images with these extreme values can have this range."""
        rounding = _ROUNDING * (self.high - self.low)
        is_within = self.low - rounding <= darkest <= brightest <= self.high + rounding
        # Images of a single color do not reveal their scale.
        return is_within and (
            darkest == brightest or (brightest > self.brightest_above and darkest < self.darkest_below)
        )

    def __str__(self) -> str:
        text = f"{self.low:g} to {self.high:g}"
        if self.brightest_above > -np.inf:
            text += f", the brightest above {self.brightest_above:.3g}"
        return text + (f", the darkest below {self.darkest_below:g}" if self.darkest_below < np.inf else "")


_PHOTOGRAPHS = {
    # Rejects masks of zeros and ones.
    "uint8": _PixelRange(0, WHITE["uint8"], brightest_above=1),
    # Rejects 12-bit values stored in 16 bits.
    "uint16": _PixelRange(0, WHITE["uint16"], brightest_above=4095),
    # Rejects images that were divided by 255 twice.
    "float32": _PixelRange(0, WHITE["float32"], brightest_above=1.5 / 255),
}
"""Pixel ranges of TFDS's ``Image`` features, by dtype."""

_PREPROCESSED = _PixelRange(-1, 1, darkest_below=0)
"""Pixel range of preprocessed images. Rejects images in [0, 1], which have no negative pixel."""


class ExampleDecoder:
    """Decodes the examples of one data set.

    Args:
        builder: builder of the data set.
        image_key: name of the image feature.
        label_key: name of the label feature; None if there is none, and all labels are 0.
        name: name of the data set, for error messages.
    """

    def __init__(self, builder: tfds.core.DatasetBuilder, image_key: str, label_key: str | None, name: str) -> None:
        self._features = builder.info.features
        self._image_key = image_key
        self._label_key = label_key
        self._name = name
        self._feature = self._features[image_key]
        self._num_classes: int = 1 if label_key is None else self._features[label_key].num_classes
        self.is_preprocessed = is_preprocessed(self._feature)
        """Whether images are stored as float32 in [-1, 1], cropped and resampled to one resolution."""

    def decode(self, record: tf.Tensor, split: str, resolution: int, channels: int = 3) -> tuple[tf.Tensor, tf.Tensor]:
        """Decodes one example within a ``tf.data`` pipeline.

        Args:
            record: serialized example, a scalar string.
            split: name of the example's split, for error messages.
            resolution: height and width of the result, in pixels.
            channels: number of channels of the result, 1 or 3.

        Returns:
            Float32 image in [-1, 1], shape ``(resolution, resolution, channels)``, and int32 label, shape ``()``. If
            the label is out of range, evaluating them raises an InvalidArgumentError, whose message
            :func:`label_error_in` parses.
        """
        image, label = self._stored(record)
        image = with_channels(image, channels) if self.is_preprocessed else preprocess(image, resolution, channels)
        # Assert here, not in the training step: XLA drops assertions.
        prefix = f"data set {self._name}, split {split}: found label "
        is_class = tf.logical_and(label >= 0, label < self._num_classes)
        message = tf.strings.join([prefix, tf.strings.as_string(label), _expected_labels(self._num_classes)])
        with tf.control_dependencies([tf.debugging.Assert(is_class, [message])]):
            return image, tf.cast(label, tf.int32)

    def _stored(self, record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the image as stored, and its int64 label."""
        if not self.is_preprocessed:
            example = self._features.deserialize_example(record)
            label = 0 if self._label_key is None else example[self._label_key]
            return example[self._image_key], tf.cast(label, tf.int64)
        # Parse these two features directly: TFDS's generic decoding would take much of the time.
        image, label = parse_stored(record, self._image_key, self._label_key)
        return tf.reshape(tf.io.decode_raw(image, tf.float32), self._feature.shape), label

    def check_first(self, records: tf.data.Dataset, split: str) -> None:
        """Checks the labels and the pixel range of the first ``CHECKED_EXAMPLES`` examples.

        Args:
            records: serialized examples of the split.
            split: name of the split, for error messages.

        Raises:
            UserError: a label is out of range, or the pixels do not have the range that their dtype implies.
            tf.errors.OpError: an example cannot be read.
        """
        darkest, brightest = [], []
        for image, label in records.take(CHECKED_EXAMPLES).map(self._stored).as_numpy_iterator():
            check_label(label, self._num_classes, self._name, split)
            darkest.append(np.min(image))
            brightest.append(np.max(image))
        expected = _PREPROCESSED if self.is_preprocessed else _PHOTOGRAPHS[np.dtype(self._feature.np_dtype).name]
        low, high = float(np.min(darkest)), float(np.max(brightest))
        if not expected.accepts(low, high):
            raise UserError(
                f"data set {self._name}, split {split}: the pixels of the first {len(darkest)} images range from "
                f"{low:g} to {high:g}; expected {np.dtype(self._feature.np_dtype).name} values from {expected}; "
                "rescale the images and prepare the data set again"
            )


def parse_stored(records: tf.Tensor, image_key: str, label_key: str | None) -> tuple[tf.Tensor, tf.Tensor]:
    """Parses serialized examples, without decoding the images.

    Args:
        records: serialized examples, strings, shape ``()`` or ``(n,)``.
        image_key: name of the image feature, stored as bytes.
        label_key: name of the label feature; None if there is none, and all labels are 0.

    Returns:
        Stored bytes of the images, and their int64 labels.
    """
    features = {image_key: tf.io.FixedLenFeature((), tf.string)}
    if label_key is not None:
        features[label_key] = tf.io.FixedLenFeature((), tf.int64)
    examples = tf.io.parse_example(records, features)
    images = examples[image_key]
    return images, tf.zeros(tf.shape(images), tf.int64) if label_key is None else examples[label_key]


def _expected_labels(num_classes: int) -> str:
    return f"; expected 0 to {num_classes - 1} (-1 marks a split without labels); choose another split"


def check_label(label: int, num_classes: int, name: str, split: str) -> None:
    """Checks that a label is in range.

    Args:
        label: label of an example.
        num_classes: number of classes.
        name: name of the data set, for the error message.
        split: name of the split, for the error message.

    Raises:
        UserError: the label is not in [0, num_classes).
    """
    if not 0 <= label < num_classes:
        raise UserError(f"data set {name}, split {split}: found label {label}{_expected_labels(num_classes)}")


def label_error_in(message: str) -> str | None:
    """Extracts the message of :meth:`ExampleDecoder.decode` about a label from that of a failed TensorFlow assertion.

    Args:
        message: message of any TensorFlow error.

    Returns:
        The message about the label, or None if the error is another one.
    """
    match = _LABEL_ERROR.search(message)
    return match[1] if match else None


def is_preprocessed(feature: Any) -> bool:
    """Whether a TFDS feature holds preprocessed images: square RGB tensors, stored as the bytes of float32 values."""
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
