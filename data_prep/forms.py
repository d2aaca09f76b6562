"""The forms in which ImageNet is stored: as photographs, and cropped and resampled for HamGAN."""

import abc
import dataclasses
from collections.abc import Mapping

import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2, tf_feature_pb2

from data_prep.imagenet_hamgan import RESOLUTIONS, ImagenetHamgan
from data_prep.sources import MAX_NAME_BYTES
from hamgan.data.preprocessing import preprocess
from hamgan.errors import UserError

_LABEL_AND_FRAMING_BYTES = 96
"""Upper bound of what a record takes beyond its image and its name."""


class Form(abc.ABC):
    """One TFDS data set that ImageNet is written as; picklable, so that workers can have it."""

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """The data set's name for ``tfds.load``."""

    @abc.abstractmethod
    def builder(self, data_dir: str) -> tfds.core.DatasetBuilder:
        """Returns the TFDS builder, which knows features and metadata."""

    @abc.abstractmethod
    def record_bytes(self, image_bytes: int) -> int:
        """Returns about how long the record of an image file of that size is."""

    @abc.abstractmethod
    def image_feature(self, jpeg: bytes) -> bytes:
        """Returns what is stored of a sound JPEG."""

    def record(self, name: bytes, label: int, jpeg: bytes) -> bytes:
        """Returns the serialized example.

        Protobuf orders a message's map by a hash that changes from process to process, unless told otherwise.
        """
        features = {
            "image": _bytes_feature(self.image_feature(jpeg)),
            "label": tf_feature_pb2.Feature(int64_list=tf_feature_pb2.Int64List(value=[label])),
            "file_name": _bytes_feature(name),
        }
        example = tf_example_pb2.Example(features=tf_feature_pb2.Features(feature=features))
        return example.SerializeToString(deterministic=True)


@dataclasses.dataclass(frozen=True)
class Photographs(Form):
    """TFDS's own ``imagenet2012``: JPEG files as they are."""

    @property
    def name(self) -> str:
        """The data set's name for ``tfds.load``."""
        return "imagenet2012"

    def builder(self, data_dir: str) -> tfds.core.DatasetBuilder:
        """Returns the stock builder."""
        return tfds.builder("imagenet2012", data_dir=data_dir)

    def record_bytes(self, image_bytes: int) -> int:
        """Returns about how long the record of an image file of that size is."""
        return image_bytes + MAX_NAME_BYTES + _LABEL_AND_FRAMING_BYTES

    def image_feature(self, jpeg: bytes) -> bytes:
        """Returns the JPEG."""
        return jpeg


@dataclasses.dataclass(frozen=True)
class Preprocessed(Form):
    """``imagenet_hamgan``: what :func:`hamgan.data.preprocessing.preprocess` makes of them, float32."""

    resolution: int

    @property
    def name(self) -> str:
        """The data set's name for ``tfds.load``."""
        return f"imagenet_hamgan/{self.resolution}"

    def builder(self, data_dir: str) -> tfds.core.DatasetBuilder:
        """Returns our builder."""
        return ImagenetHamgan(config=str(self.resolution), data_dir=data_dir)

    def record_bytes(self, image_bytes: int) -> int:
        """Returns about how long a record is, whatever the size of the image file."""
        return self.resolution**2 * 3 * tf.float32.size + MAX_NAME_BYTES + _LABEL_AND_FRAMING_BYTES

    def image_feature(self, jpeg: bytes) -> bytes:
        """Returns the pixels, float32, little-endian, row by row."""
        return _preprocessed(tf.constant(jpeg), self.resolution).numpy().tobytes()


@tf.function(reduce_retracing=True)
def _preprocessed(jpeg: tf.Tensor, resolution: int) -> tf.Tensor:
    # As TFDS decodes its Image feature.
    return preprocess(tf.io.decode_image(jpeg, channels=3, expand_animations=False), resolution)


def _bytes_feature(value: bytes) -> tf_feature_pb2.Feature:
    return tf_feature_pb2.Feature(bytes_list=tf_feature_pb2.BytesList(value=[value]))


FORMS: Mapping[str, Form] = {
    "original": Photographs(),
    **{str(resolution): Preprocessed(resolution) for resolution in RESOLUTIONS},
}


def get_forms(names: list[str]) -> list[Form]:
    """Returns the forms of those names, each once.

    Raises:
        UserError: there is no such form.
    """
    for name in names:
        if name not in FORMS:
            raise UserError(f"--form is any of {', '.join(FORMS)}, found '{name}'")
    return [FORMS[name] for name in dict.fromkeys(names)]
