"""What ILSVRC 2012 consists of: its classes, counts, names and validation labels."""

import functools
import re

import tensorflow_datasets as tfds

NUM_CLASSES = 1000
TOTALS = {"train": 1_281_167, "validation": 50_000}
IMAGES_PER_CLASS = {"train": (732, 1300), "validation": (50, 50)}
"""Fewest and most images of a class, by split."""

TRAIN_TAR = "ILSVRC2012_img_train.tar"
VALIDATION_TAR = "ILSVRC2012_img_val.tar"

IMAGE_SUFFIXES = (".jpeg", ".jpg", ".png")
_VALIDATION_NAME = re.compile(r"ILSVRC2012_val_(\d{8})\.(?:jpeg|jpg|png)", re.IGNORECASE)
_TRAIN_NAME = re.compile(r"(n\d{8})_\d+\.(?:jpeg|jpg|png)", re.IGNORECASE)
_TFDS_FOLDER = "datasets/imagenet2012"


@functools.cache
def synsets() -> tuple[str, ...]:
    """Returns the 1,000 WordNet ids (``n01440764`` ...); a class's label is its position."""
    return tuple(_lines("labels.txt"))


@functools.cache
def label_of_synset() -> dict[str, int]:
    """Returns each synset's label."""
    return {synset: label for label, synset in enumerate(synsets())}


@functools.cache
def validation_labels() -> tuple[int, ...]:
    """Returns the labels of ``ILSVRC2012_val_00000001`` and the 49,999 that follow, by number."""
    return tuple(label_of_synset()[synset] for synset in _lines("validation_labels.txt"))


def label_of_validation_name(name: str) -> int | None:
    """Returns the label of a validation image by the number in its name, or None if it has no such name."""
    match = _VALIDATION_NAME.fullmatch(name)
    number = int(match[1]) if match else 0
    return validation_labels()[number - 1] if 1 <= number <= TOTALS["validation"] else None


def synset_of_train_name(name: str) -> str | None:
    """Returns the synset that a training image's name begins with, or None if it has no such name."""
    match = _TRAIN_NAME.fullmatch(name)
    return match[1] if match else None


def _lines(file_name: str) -> list[str]:
    return tfds.core.tfds_path(f"{_TFDS_FOLDER}/{file_name}").read_text().split()
