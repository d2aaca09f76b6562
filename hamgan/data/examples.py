"""From stored examples to images and labels, and the checks that they are what the networks expect."""

import re
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from hamgan.data.preprocessing import WHITE, preprocess
from hamgan.errors import UserError

CHECKED_EXAMPLES = 32
"""The first examples of a split, whose pixels are looked at before anything is read from it."""

_ROUNDING = 1e-3
_LABEL_ERROR = re.compile(r"assertion failed: \[(data set .*? found label .*?)\]\s*(?:\n|$)")


class _Pixels(NamedTuple):
    """What the pixels of a kind of image must be.

    Args:
        low, high: lowest and highest value of a pixel.
        beyond: a value that the brightest pixel of several images is above.
        below: a value that the darkest pixel of several images is below.
    """

    low: float
    high: float
    beyond: float = -np.inf
    below: float = np.inf

    def accept(self, darkest: float, brightest: float) -> bool:
        """Whether images from ``darkest`` to ``brightest`` may be of this kind."""
        rounding = _ROUNDING * (self.high - self.low)
        is_within = self.low - rounding <= darkest <= brightest <= self.high + rounding
        # Images of one colour only say nothing about their scale.
        return is_within and (darkest == brightest or (brightest > self.beyond and darkest < self.below))

    def __str__(self) -> str:
        said = f"{self.low:g} to {self.high:g}"
        if self.beyond > -np.inf:
            said += f", the brightest above {self.beyond:.3g}"
        return said + (f", the darkest below {self.below:g}" if self.below < np.inf else "")


_PHOTOGRAPHS = {
    # Values of 0 and 1 only.
    "uint8": _Pixels(0, WHITE["uint8"], beyond=1),
    # Twelve bits or fewer in numbers of sixteen.
    "uint16": _Pixels(0, WHITE["uint16"], beyond=4095),
    # Divided by 255 twice.
    "float32": _Pixels(0, WHITE["float32"], beyond=1.5 / 255),
}
"""TFDS's ``Image`` features, by dtype."""

_PREPROCESSED = _Pixels(-1, 1, below=0)
"""Images as the networks see them. Real ones have a dark pixel; those in [0, 1] have not."""


class ExampleDecoder:
    """Decodes the examples of one data set.

    Args:
        builder: the data set.
        image_key: name of its image feature.
        label_key: name of its label feature.
        name: what to call it in errors.
    """

    def __init__(self, builder: tfds.core.DatasetBuilder, image_key: str, label_key: str, name: str) -> None:
        self._features = builder.info.features
        self._image_key = image_key
        self._label_key = label_key
        self._name = name
        self._feature = self._features[image_key]
        self._num_classes: int = self._features[label_key].num_classes
        self.is_preprocessed = is_preprocessed(self._feature)
        """Whether images are stored as the networks see them, at one resolution."""

    def decode(self, record: tf.Tensor, split: str, resolution: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Decodes one example, in a tf.data pipeline.

        Args:
            record: serialized example, a scalar string.
            split: split that it belongs to, for errors.
            resolution: height and width of the result.

        Returns:
            Float32 image in [-1, 1], ``(resolution, resolution, 3)``, and int32 label, ``()``. Evaluating them fails
            with an InvalidArgumentError, which :func:`label_error_in` reads, if the label is none of the data set's
            classes.
        """
        image, label = self._stored(record)
        if not self.is_preprocessed:
            image = preprocess(image, resolution)
        # Assertions within a training step would be dropped by XLA.
        message = f"data set {self._name}, split {split}: found label "
        is_class = tf.logical_and(label >= 0, label < self._num_classes)
        sentence = tf.strings.join([message, tf.strings.as_string(label), self._expected_labels()])
        with tf.control_dependencies([tf.debugging.Assert(is_class, [sentence])]):
            return image, tf.cast(label, tf.int32)

    def _stored(self, record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The image as it is stored, and its int64 label."""
        if not self.is_preprocessed:
            example = self._features.deserialize_example(record)
            return example[self._image_key], tf.cast(example[self._label_key], tf.int64)
        # Only what is needed: of so small a task, TFDS's general decoding is a large part.
        features = {
            self._image_key: tf.io.FixedLenFeature((), tf.string),
            self._label_key: tf.io.FixedLenFeature((), tf.int64),
        }
        example = tf.io.parse_single_example(record, features)
        pixels = tf.io.decode_raw(example[self._image_key], tf.float32)
        return tf.reshape(pixels, self._feature.shape), example[self._label_key]

    def _expected_labels(self) -> str:
        return f"; expected 0 to {self._num_classes - 1} (-1 marks a split without labels); choose another split"

    def check_first(self, records: tf.data.Dataset, split: str) -> None:
        """Checks the range of pixels, and the labels, of the first examples.

        Args:
            records: serialized examples of the split.
            split: split that they belong to, for errors.

        Raises:
            UserError: the images have another range than their dtype says, or a label is no class.
            tf.errors.OpError: an example cannot be read.
        """
        darkest, brightest = [], []
        for image, label in records.take(CHECKED_EXAMPLES).map(self._stored).as_numpy_iterator():
            if not 0 <= label < self._num_classes:
                raise UserError(f"data set {self._name}, split {split}: found label {label}{self._expected_labels()}")
            darkest.append(np.min(image))
            brightest.append(np.max(image))
        kind = _PREPROCESSED if self.is_preprocessed else _PHOTOGRAPHS[np.dtype(self._feature.np_dtype).name]
        low, high = float(np.min(darkest)), float(np.max(brightest))
        if not kind.accept(low, high):
            raise UserError(
                f"data set {self._name}, split {split}: the pixels of the first {len(darkest)} images are {low:g} to "
                f"{high:g}; expected {np.dtype(self._feature.np_dtype).name} values from {kind}; "
                "rescale the images and prepare the data set again"
            )


def label_error_in(message: str) -> str | None:
    """Returns what :meth:`ExampleDecoder.decode` says of a label, from TensorFlow's message of the failed assertion."""
    match = _LABEL_ERROR.search(message)
    return match[1] if match else None


def is_preprocessed(feature: Any) -> bool:
    """Whether a TFDS feature holds square RGB images as the networks see them: the bytes of float32 numbers."""
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
