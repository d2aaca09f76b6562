"""The form of a folder of pictures: a TFDS data set of small, square PNG images."""

import dataclasses
import io
import os
from collections.abc import Sequence

import tensorflow_datasets as tfds
from PIL import Image

from data_prep import storage
from data_prep.forms import LABEL_AND_FRAMING_BYTES, Form
from data_prep.picture import LARGEST_RESOLUTION, fitted
from hamgan.errors import UserError

RESOLUTIONS = (32, 64, 128, LARGEST_RESOLUTION)
_VERSION = "1.0.0"
_TYPICAL_NAME_BYTES = 64


@dataclasses.dataclass(frozen=True)
class SquarePictures(Form):
    """Pictures resized to one resolution, as PNG.

    Args:
        dataset: name of the data set.
        resolution: height and width of the images, in pixels.
    """

    dataset: str
    resolution: int

    @property
    def name(self) -> str:
        """Name of the data set for ``tfds.load``."""
        return f"{self.dataset}/{self.resolution}"

    def folder(self, data_dir: str) -> str:
        """Returns the final folder of the data set."""
        return storage.join(os.path.expanduser(data_dir), self.dataset, str(self.resolution), _VERSION)

    def info(self, data_dir: str, class_names: Sequence[str]) -> tfds.core.DatasetInfo:
        """Returns TFDS's metadata, without splits."""
        identity = tfds.core.dataset_info.DatasetIdentity(
            name=self.dataset,
            version=tfds.core.Version(_VERSION),
            data_dir=self.folder(data_dir),
            module_name="",
            config_name=str(self.resolution),
            config_description=f"{self.resolution}x{self.resolution} pixels",
        )
        features = {
            "image": tfds.features.Image(shape=(self.resolution, self.resolution, 3), encoding_format="png"),
            "label": tfds.features.ClassLabel(names=list(class_names)),
            "file_name": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(
            builder=identity,
            description="Pictures prepared by 'hamgan prepare folder'.",
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
        )

    def record_bytes(self, image_bytes: int) -> int:
        """Returns the size of a record in bytes if the PNG does not compress at all."""
        return self.resolution**2 * 3 + _TYPICAL_NAME_BYTES + LABEL_AND_FRAMING_BYTES

    def image_feature(self, image: Image.Image) -> bytes:
        """Returns the picture, resized, as a PNG file."""
        buffer = io.BytesIO()
        # Photographs hardly repeat themselves: runs alone compress them as well, in less than half the time.
        fitted(image, self.resolution).save(buffer, "PNG", compress_type=Image.RLE)
        return buffer.getvalue()


def get_picture_forms(dataset: str, resolutions: Sequence[int]) -> list[Form]:
    """Returns the forms with the given resolutions, without duplicates.

    Args:
        dataset: name of the data set.
        resolutions: elements of ``RESOLUTIONS``.

    Raises:
        UserError: a resolution is not available.
    """
    for resolution in resolutions:
        if resolution not in RESOLUTIONS:
            raise UserError(f"--resolution must be any of {', '.join(map(str, RESOLUTIONS))}, found {resolution}")
    return [SquarePictures(dataset, resolution) for resolution in dict.fromkeys(resolutions)]
