"""The form of a data set: a TFDS data set that a collection of images can be written as."""

import abc
from collections.abc import Sequence
from typing import Any

import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2, tf_feature_pb2

LABEL_AND_FRAMING_BYTES = 96
"""Upper bound on the size of a record beyond its image and file name."""


class Form(abc.ABC):
    """A TFDS data set that images can be written as. Instances are picklable, to be sent to workers."""

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """Name of the data set for ``tfds.load``."""

    @abc.abstractmethod
    def folder(self, data_dir: str) -> str:
        """Returns the final folder of the data set.

        Args:
            data_dir: folder of TFDS data sets, local or ``gs://``.
        """

    @abc.abstractmethod
    def info(self, data_dir: str, class_names: Sequence[str]) -> tfds.core.DatasetInfo:
        """Returns TFDS's metadata, without splits.

        Args:
            data_dir: folder of TFDS data sets, local or ``gs://``.
            class_names: name of each class, by label.
        """

    @abc.abstractmethod
    def record_bytes(self, image_bytes: int) -> int:
        """Returns the approximate size of a record in bytes.

        Args:
            image_bytes: size of the image file in bytes.
        """

    @abc.abstractmethod
    def image_feature(self, image: Any) -> bytes:
        """Returns the bytes to store as the "image" feature.

        Args:
            image: result of the collection's ``Conversion.convert``.
        """

    def record(self, name: bytes, label: int, image: Any) -> bytes:
        """Returns the serialized example.

        Args:
            name: file name of the image.
            label: label of the image.
            image: result of the collection's ``Conversion.convert``.
        """
        features = {
            "image": bytes_feature(self.image_feature(image)),
            "label": tf_feature_pb2.Feature(int64_list=tf_feature_pb2.Int64List(value=[label])),
            "file_name": bytes_feature(name),
        }
        example = tf_example_pb2.Example(features=tf_feature_pb2.Features(feature=features))
        # By default, protobuf orders the features by a hash that changes from process to process.
        return example.SerializeToString(deterministic=True)


def bytes_feature(value: bytes) -> tf_feature_pb2.Feature:
    """Returns a feature of a serialized example that holds bytes."""
    return tf_feature_pb2.Feature(bytes_list=tf_feature_pb2.BytesList(value=[value]))
