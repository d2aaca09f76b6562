"""The contents of ILSVRC 2012: classes, image counts, file names and validation labels."""

import functools
import re

import tensorflow_datasets as tfds

NUM_CLASSES = 1000
NUM_IMAGES = {"train": 1_281_167, "validation": 50_000}
"""Number of images in each split."""
IMAGES_PER_CLASS = {"train": (732, 1300), "validation": (50, 50)}
"""Minimum and maximum number of images per class in each split."""

TRAIN_TAR = "ILSVRC2012_img_train.tar"
VALIDATION_TAR = "ILSVRC2012_img_val.tar"

IMAGE_SUFFIXES = (".jpeg", ".jpg", ".png")
_VALIDATION_NAME = re.compile(r"ILSVRC2012_val_(\d{8})\.(?:jpeg|jpg|png)", re.IGNORECASE)
_TRAIN_NAME = re.compile(r"(n\d{8})_\d+\.(?:jpeg|jpg|png)", re.IGNORECASE)
_TFDS_FOLDER = "datasets/imagenet2012"


@functools.cache
def synsets() -> tuple[str, ...]:
    """Returns the WordNet ids of the 1,000 classes (``n01440764`` ...), ordered by label."""
    return tuple(_lines("labels.txt"))


@functools.cache
def label_of_synset() -> dict[str, int]:
    """Returns the label of each synset."""
    return {synset: label for label, synset in enumerate(synsets())}


@functools.cache
def validation_labels() -> tuple[int, ...]:
    """Returns the labels of the 50,000 validation images, ordered by number from ``ILSVRC2012_val_00000001`` on."""
    return tuple(label_of_synset()[synset] for synset in _lines("validation_labels.txt"))


def label_of_validation_name(name: str) -> int | None:
    """Returns the label of a validation image from the number in its file name, or None if the name has none."""
    match = _VALIDATION_NAME.fullmatch(name)
    number = int(match[1]) if match else 0
    return validation_labels()[number - 1] if 1 <= number <= NUM_IMAGES["validation"] else None


def synset_of_train_name(name: str) -> str | None:
    """Returns the synset at the start of a training image's file name, or None if the name has none."""
    match = _TRAIN_NAME.fullmatch(name)
    return match[1] if match else None


def _lines(file_name: str) -> list[str]:
    return tfds.core.tfds_path(f"{_TFDS_FOLDER}/{file_name}").read_text().split()
