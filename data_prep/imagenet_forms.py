"""The forms of ImageNet (``--form``): TFDS data sets of photographs, or of preprocessed images."""

import abc
import dataclasses
import os
from collections.abc import Mapping, Sequence

import tensorflow as tf
import tensorflow_datasets as tfds

from data_prep.forms import LABEL_AND_FRAMING_BYTES, Form
from data_prep.imagenet_hamgan import RESOLUTIONS, ImagenetHamgan
from data_prep.imagenet_sources import MAX_NAME_BYTES
from hamgan.data.preprocessing import preprocess
from hamgan.errors import UserError


class _ImagenetForm(Form):
    """A form with a TFDS builder of its own, which stores valid JPEG files in RGB or grayscale."""

    @abc.abstractmethod
    def builder(self, data_dir: str) -> tfds.core.DatasetBuilder:
        """Returns the TFDS builder, which defines features and metadata."""

    def folder(self, data_dir: str) -> str:
        """Returns the final folder of the data set."""
        return os.fspath(self.builder(data_dir).data_path)

    def info(self, data_dir: str, class_names: Sequence[str]) -> tfds.core.DatasetInfo:
        """Returns TFDS's metadata, where the builder knows the names of the classes."""
        return self.builder(data_dir).info


@dataclasses.dataclass(frozen=True)
class Photographs(_ImagenetForm):
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
        return image_bytes + MAX_NAME_BYTES + LABEL_AND_FRAMING_BYTES

    def image_feature(self, image: bytes) -> bytes:
        """Returns the JPEG."""
        return image


@dataclasses.dataclass(frozen=True)
class Preprocessed(_ImagenetForm):
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
        return self.resolution**2 * 3 * tf.float32.size + MAX_NAME_BYTES + LABEL_AND_FRAMING_BYTES

    def image_feature(self, image: bytes) -> bytes:
        """Returns the pixels in row-major order, as little-endian float32."""
        return _preprocessed(tf.constant(image), self.resolution).numpy().tobytes()


@tf.function(reduce_retracing=True)
def _preprocessed(jpeg: tf.Tensor, resolution: int) -> tf.Tensor:
    # TFDS decodes its Image feature in the same way.
    return preprocess(tf.io.decode_image(jpeg, channels=3, expand_animations=False), resolution)


FORMS: Mapping[str, _ImagenetForm] = {
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
