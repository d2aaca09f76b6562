"""Writes TFDS data sets of given images and labels, for tests."""

import pathlib

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from hamgan.config import DataConfig

NUM_CLASSES = 3


def write_dataset(path, splits, image_feature=None, num_shards=1) -> DataConfig:
    """Writes a data set named "given" and returns its config.

    Args:
        path: folder of TFDS data sets.
        splits: pair of images and labels for each split, which are named "train" and "test". Labels are None for a
            data set without a label feature.
        image_feature: TFDS feature of the images; None for photographs of any size.
        num_shards: number of record files per split.
    """

    is_labelled = all(labels is not None for _, labels in splits.values())

    # Not registered, so TFDS has to read the features from the folder.
    class Given(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        """Images and labels passed to write_dataset."""

        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {"image": image_feature or tfds.features.Image(shape=(None, None, 3))}
            if is_labelled:
                features["label"] = tfds.features.ClassLabel(num_classes=NUM_CLASSES)
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, _dl_manager):
            return {name: self._generate_examples(*split) for name, split in splits.items()}

        def _generate_examples(self, images, labels):
            for index, image in enumerate(images):
                yield index, {"image": image, "label": int(labels[index])} if is_labelled else {"image": image}

    options = tfds.download.DownloadConfig(num_shards=num_shards)
    Given(data_dir=str(path)).download_and_prepare(download_config=options, file_format="tfrecord")
    return DataConfig("given", str(path), "train", "test" if "test" in splits else "train")


def pictures(count: int, dtype=np.uint8, high: float = 255.0, low: float = 0.0) -> np.ndarray:
    """Returns 8x8 images whose pixels all span ``low`` to ``high``, shape ``(count, 8, 8, 3)``."""
    images = np.linspace(low, high, count * 8 * 8 * 3).reshape(count, 8, 8, 3)
    images[:, 0, 0], images[:, 1, 1] = low, high
    return images.astype(dtype)


def record_files(path, split="train") -> list[pathlib.Path]:
    """Returns the record files of a split, anywhere below a folder."""
    return sorted(pathlib.Path(path).rglob(f"*-{split}.tfrecord-*"))


def rewrite_labels(file: pathlib.Path, labels: dict[int, int]) -> None:
    """Changes the labels of the records with the given indices, without any check."""
    records = [tf.train.Example.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(file))]
    for index, label in labels.items():
        records[index].features.feature["label"].int64_list.value[:] = [label]
    with tf.io.TFRecordWriter(str(file)) as writer:
        for record in records:
            writer.write(record.SerializeToString())
