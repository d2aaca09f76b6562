"""Two ways to turn a folder of pictures into a TFDS data set of small images, with TFDS and TensorFlow alone.

Both resize with an antialiased Lanczos filter, write PNG files and hold out the tenth part of the pictures, as
``hamgan prepare folder`` does. They check nothing, and they read JPEG and PNG files only.
"""

import os
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
import tensorflow_datasets as tfds

NAME = "photographs"
"""Name of both data sets."""
VERSION = "1.0.0"
RESOLUTION = 128
VALIDATION_SHARE = 10
"""One of this number of pictures is for validation."""


def write_with_tf_data(folder: str, data_dir: str) -> None:
    """Writes records with one parallel pipeline: ``ImageFolder``, resizing, PNG.

    Args:
        folder: folder with a single split in a folder, with a folder for each class.
        data_dir: folder of TFDS data sets.
    """
    builder = tfds.folder_dataset.ImageFolder(folder)
    (split,) = builder.info.splits
    dataset = builder.as_dataset(split=split)
    dataset = dataset.map(_small_png, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
    num_pictures = builder.info.splits[split].num_examples
    num_validation = num_pictures // VALIDATION_SHARE
    counts = {"validation": num_validation, "train": num_pictures - num_validation}
    destination = os.path.join(data_dir, NAME, VERSION)
    os.makedirs(destination)
    records = dataset.as_numpy_iterator()
    infos = []
    for name, count in counts.items():
        num_bytes = 0
        with tf.io.TFRecordWriter(os.path.join(destination, f"{NAME}-{name}.tfrecord-00000-of-00001")) as writer:
            for _ in range(count):
                record = _record(next(records), os.path.join(folder, split))
                num_bytes += len(record)
                writer.write(record)
        infos.append(tfds.core.SplitInfo(name=name, shard_lengths=[count], num_bytes=num_bytes))
    features = _features()
    features["label"].names = builder.info.features["label"].names
    tfds.folder_dataset.write_metadata(
        data_dir=destination, features=features, split_infos=infos, version=VERSION, check_data=False
    )


def write_with_builder(folder: str, data_dir: str) -> None:
    """Writes records with a builder that generates one example after the other.

    Args:
        folder: folder with a folder for each class.
        data_dir: folder of TFDS data sets.
    """
    config = tfds.download.DownloadConfig(manual_dir=folder)
    Photographs(data_dir=data_dir).download_and_prepare(download_config=config, file_format="tfrecord")


with tfds.core.registered.skip_registration():

    class Photographs(tfds.core.GeneratorBasedBuilder):
        """Small images of the pictures in ``manual_dir``."""

        VERSION = tfds.core.Version(VERSION)
        MANUAL_DOWNLOAD_INSTRUCTIONS = "A folder with a folder for each class."

        def _info(self) -> tfds.core.DatasetInfo:
            return tfds.core.DatasetInfo(builder=self, features=_features())

        def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
            folder = os.fspath(dl_manager.manual_dir)
            classes = sorted(os.listdir(folder))
            self.info.features["label"].names = classes
            names = [f"{name}/{file}" for name in classes for file in sorted(os.listdir(os.path.join(folder, name)))]
            validation = names[::VALIDATION_SHARE]
            train = sorted(set(names).difference(validation))
            return {
                "train": self._generate_examples(folder, train),
                "validation": self._generate_examples(folder, validation),
            }

        def _generate_examples(self, folder: str, names: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
            for name in names:
                image = _small_image(tf.io.decode_image(tf.io.read_file(os.path.join(folder, name)), channels=3))
                yield name, {"image": image.numpy(), "label": os.path.dirname(name), "file_name": name}


def _features() -> tfds.features.FeaturesDict:
    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(RESOLUTION, RESOLUTION, 3), encoding_format="png"),
            "label": tfds.features.ClassLabel(),
            "file_name": tfds.features.Text(),
        }
    )


def _small_image(image: tf.Tensor) -> tf.Tensor:
    """Returns the central square, resized."""
    height, width = tf.unstack(tf.shape(image)[:2])
    side = tf.minimum(height, width)
    square = tf.image.crop_to_bounding_box(image, (height - side) // 2, (width - side) // 2, side, side)
    resized = tf.image.resize(square, (RESOLUTION, RESOLUTION), method="lanczos3", antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8)


def _small_png(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    return {**example, "image": tf.io.encode_png(_small_image(example["image"]))}


def _record(example: dict[str, Any], folder: str) -> bytes:
    name = os.path.relpath(os.fsdecode(example["image/filename"]), folder)
    features = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[example["image"]])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[example["label"]])),
        "file_name": tf.train.Feature(bytes_list=tf.train.BytesList(value=[os.fsencode(name)])),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
