"""The forms of ImageNet (``--form``): TFDS data sets of photographs, or of preprocessed images."""

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
"""Upper bound on the size of a record beyond its image and file name."""


class Form(abc.ABC):
    """A TFDS data set that ImageNet can be written as. Instances are picklable, to be sent to workers."""

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """Name of the data set for ``tfds.load``."""

    @abc.abstractmethod
    def builder(self, data_dir: str) -> tfds.core.DatasetBuilder:
        """Returns the TFDS builder, which defines features and metadata."""

    @abc.abstractmethod
    def record_bytes(self, image_bytes: int) -> int:
        """Returns the approximate size of a record in bytes.

        Args:
            image_bytes: size of the image file in bytes.
        """

    @abc.abstractmethod
    def image_feature(self, jpeg: bytes) -> bytes:
        """Returns the bytes to store as the "image" feature.

        Args:
            jpeg: valid JPEG file in RGB or grayscale.
        """

    def record(self, name: bytes, label: int, jpeg: bytes) -> bytes:
        """Returns the serialized example.

        Args:
            name: file name of the image.
            label: label of the image.
            jpeg: valid JPEG file in RGB or grayscale.
        """
        features = {
            "image": _bytes_feature(self.image_feature(jpeg)),
            "label": tf_feature_pb2.Feature(int64_list=tf_feature_pb2.Int64List(value=[label])),
            "file_name": _bytes_feature(name),
        }
        example = tf_example_pb2.Example(features=tf_feature_pb2.Features(feature=features))
        # By default, protobuf orders the features by a hash that changes from process to process.
        return example.SerializeToString(deterministic=True)


@dataclasses.dataclass(frozen=True)
class Photographs(Form):
    """TFDS's own ``imagenet2012``: JPEG files, unchanged."""

    @property
    def name(self) -> str:
        """Name of the data set for ``tfds.load``."""
        return "imagenet2012"

    def builder(self, data_dir: str) -> tfds.core.DatasetBuilder:
        """Returns the stock builder."""
        return tfds.builder("imagenet2012", data_dir=data_dir)

    def record_bytes(self, image_bytes: int) -> int:
        """Returns the approximate size of a record in bytes, which grows with the image file."""
        return image_bytes + MAX_NAME_BYTES + _LABEL_AND_FRAMING_BYTES

    def image_feature(self, jpeg: bytes) -> bytes:
        """Returns the JPEG."""
        return jpeg


@dataclasses.dataclass(frozen=True)
class Preprocessed(Form):
    """``imagenet_hamgan``: float32 images from :func:`hamgan.data.preprocessing.preprocess`.

    Args:
        resolution: height and width of the images, in pixels.
    """

    resolution: int

    @property
    def name(self) -> str:
        """Name of the data set for ``tfds.load``."""
        return f"imagenet_hamgan/{self.resolution}"

    def builder(self, data_dir: str) -> tfds.core.DatasetBuilder:
        """Returns the builder of ``imagenet_hamgan``."""
        return ImagenetHamgan(config=str(self.resolution), data_dir=data_dir)

    def record_bytes(self, image_bytes: int) -> int:
        """Returns the approximate size of a record in bytes, which does not depend on the image file."""
        return self.resolution**2 * 3 * tf.float32.size + MAX_NAME_BYTES + _LABEL_AND_FRAMING_BYTES

    def image_feature(self, jpeg: bytes) -> bytes:
        """Returns the pixels in row-major order, as little-endian float32."""
        return _preprocessed(tf.constant(jpeg), self.resolution).numpy().tobytes()


@tf.function(reduce_retracing=True)
def _preprocessed(jpeg: tf.Tensor, resolution: int) -> tf.Tensor:
    # TFDS decodes its Image feature in the same way.
    return preprocess(tf.io.decode_image(jpeg, channels=3, expand_animations=False), resolution)


def _bytes_feature(value: bytes) -> tf_feature_pb2.Feature:
    return tf_feature_pb2.Feature(bytes_list=tf_feature_pb2.BytesList(value=[value]))


FORMS: Mapping[str, Form] = {
    "original": Photographs(),
    **{str(resolution): Preprocessed(resolution) for resolution in RESOLUTIONS},
}
"""All forms by name, the value of ``--form``."""


def get_forms(names: list[str]) -> list[Form]:
    """Returns the forms with the given names, without duplicates.

    Args:
        names: keys of ``FORMS``.

    Raises:
        UserError: a name is unknown.
    """
    for name in names:
        if name not in FORMS:
            raise UserError(f"--form must be any of {', '.join(FORMS)}, found '{name}'")
    return [FORMS[name] for name in dict.fromkeys(names)]
