"""The form of images with masks: a TFDS data set for segmentation, with images of any size."""

import dataclasses
import io
import os
from collections.abc import Sequence

import tensorflow_datasets as tfds
from PIL import Image
from tensorflow_datasets.proto import tf_example_pb2, tf_feature_pb2

from data_prep import storage
from data_prep.forms import LABEL_AND_FRAMING_BYTES, Form, bytes_feature
from data_prep.masked_images import ImageAndMask
from hamgan.segmentation.data.mask_features import mask_features

_VERSION = "1.0.0"
_TYPICAL_MASK_BYTES = 16 << 10


@dataclasses.dataclass(frozen=True)
class MaskedImages(Form):
    """Images as they are, and masks as gray PNG files whose values are labels, 255 for pixels to ignore.

    Args:
        dataset: name of the data set.
        description: description for TFDS.
    """

    dataset: str
    description: str

    @property
    def name(self) -> str:
        """Name of the data set for ``tfds.load``."""
        return self.dataset

    def folder(self, data_dir: str) -> str:
        """Returns the final folder of the data set."""
        return storage.join(os.path.expanduser(data_dir), self.dataset, _VERSION)

    def info(self, data_dir: str, class_names: Sequence[str]) -> tfds.core.DatasetInfo:
        """Returns TFDS's metadata, without splits."""
        identity = tfds.core.dataset_info.DatasetIdentity(
            name=self.dataset,
            version=tfds.core.Version(_VERSION),
            data_dir=self.folder(data_dir),
            module_name="",
        )
        return tfds.core.DatasetInfo(
            builder=identity,
            description=self.description,
            features=mask_features(class_names),
            supervised_keys=("image", "mask"),
        )

    def record_bytes(self, image_bytes: int) -> int:
        """Returns the approximate size of a record in bytes."""
        return image_bytes + _TYPICAL_MASK_BYTES + LABEL_AND_FRAMING_BYTES

    def image_feature(self, image: ImageAndMask) -> bytes:
        """Returns the image file."""
        return image.image

    def record(self, name: bytes, label: int, image: ImageAndMask) -> bytes:
        """Returns the serialized example, which has a mask in place of the label."""
        buffer = io.BytesIO()
        # TensorFlow would read the colors of a palette, not its indices.
        Image.fromarray(image.mask).save(buffer, "PNG")
        features = {
            "image": bytes_feature(self.image_feature(image)),
            "mask": bytes_feature(buffer.getvalue()),
            "file_name": bytes_feature(name),
        }
        example = tf_example_pb2.Example(features=tf_feature_pb2.Features(feature=features))
        return example.SerializeToString(deterministic=True)
