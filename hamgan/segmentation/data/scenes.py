"""The built-in data set of segmentation: scikit-learn's handwritten digits on the two photographs that it ships."""

import io
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import sklearn.datasets
import tensorflow_datasets as tfds
from PIL import Image

from hamgan.data.digits import NUM_CLASSES as NUM_DIGITS
from hamgan.data.digits import VALIDATION_EVERY
from hamgan.data.metadata import TFDS_ERRORS
from hamgan.errors import UserError, reason_of
from hamgan.segmentation.data.mask_features import mask_features
from hamgan.segmentation.data.masks import IGNORED

__all__ = ["prepare_scenes"]

RESOLUTION = 128
CLASS_NAMES = ("background", *map(str, range(NUM_DIGITS)))
"""Label 0 is the photograph, label d + 1 the digit d."""
NUM_SCENES = {"train": 1200, "validation": 300}

_SEEDS = {"train": 1, "validation": 2}
_VALIDATION_SHARE = 0.4
"""Share of the height of each photograph, at the top, that validation scenes are cut from."""
_MOST_DIGITS = 5
_SMALLEST, _LARGEST = 32, 64
"""Range of the side of a digit with its margin, in pixels."""
_SHARPNESS = 2.0
"""Slope of the opacity at the edges of enlarged digits, which would be blurred otherwise."""
_FOREGROUND, _BORDER = 0.5, 0.1
"""Opacity from which on a pixel belongs to a digit, and to its border, which is ignored."""
_CONTRAST = 90
"""Least difference of luminance between a digit and the photograph below it, of 255."""
_ATTEMPTS = 20


class Scenes(tfds.core.GeneratorBasedBuilder):
    """Handwritten digits on photographs, 128x128 RGB, with a mask of eleven classes: the background and ten digits.

    Training and validation scenes share neither digits nor regions of the photographs. Borders of digits are ignored.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First version."}

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            description=self.__doc__,
            features=mask_features(CLASS_NAMES, RESOLUTION),
            supervised_keys=("image", "mask"),
            homepage="https://scikit-learn.org/stable/datasets.html",
        )

    def _split_generators(self, _dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        return {split: self._generate_examples(split) for split in NUM_SCENES}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        rng = np.random.default_rng(_SEEDS[split])
        digits, labels = digits_of(split)
        photographs = photographs_of(split)
        for index in range(NUM_SCENES[split]):
            image, mask = draw_scene(rng, photographs, digits, labels)
            yield index, {"image": _png(image), "mask": _png(mask), "file_name": f"{split}_{index:04d}.png"}


def _png(pixels: np.ndarray) -> bytes:
    """Returns a PNG file; TFDS encodes several times as slowly."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def digits_of(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the handwritten digits that the scenes of a split are made of.

    Args:
        split: "train" or "validation", which has every fifth digit.

    Returns:
        Opacities in [0, 1], float32, shape ``(n, 8, 8)``, and the digits, shape ``(n,)``.
    """
    source = sklearn.datasets.load_digits()
    in_validation = np.arange(len(source.target)) % VALIDATION_EVERY == VALIDATION_EVERY - 1
    chosen = in_validation if split == "validation" else ~in_validation
    brightest = 16.0
    return (source.images[chosen] / brightest).astype(np.float32), source.target[chosen]


def photographs_of(split: str) -> list[np.ndarray]:
    """Returns the regions of the photographs that the scenes of a split are cut from.

    Args:
        split: "train" or "validation", which has the upper part of each photograph.

    Returns:
        Uint8 RGB images.
    """
    regions = []
    for photograph in sklearn.datasets.load_sample_images().images:
        border = round(len(photograph) * _VALIDATION_SHARE)
        regions.append(photograph[:border] if split == "validation" else photograph[border:])
    return regions


def draw_scene(
    rng: np.random.Generator, photographs: Sequence[np.ndarray], digits: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Draws a part of a photograph with one to five digits on it, which do not overlap.

    Args:
        rng: random generator.
        photographs: uint8 RGB images of at least 128x128 pixels.
        digits: opacities in [0, 1], float32, shape ``(n, 8, 8)``.
        labels: the digits, shape ``(n,)``.

    Returns:
        Uint8 image, shape ``(128, 128, 3)``, and uint8 mask, shape ``(128, 128)``.
    """
    photograph = photographs[int(rng.integers(len(photographs)))]
    top, left = (rng.integers(side - RESOLUTION + 1) for side in photograph.shape[:2])
    image = photograph[top : top + RESOLUTION, left : left + RESOLUTION].astype(np.float32)
    if rng.integers(2):
        image = image[:, ::-1].copy()
    mask = np.zeros((RESOLUTION, RESOLUTION), np.uint8)
    is_free = np.ones((RESOLUTION, RESOLUTION), bool)
    for _ in range(rng.integers(1, _MOST_DIGITS + 1)):
        chosen = rng.integers(len(digits))
        side = int(rng.integers(_SMALLEST, _LARGEST + 1))
        place = _free_place(rng, is_free, side)
        if place is None:
            continue
        is_free[place] = False
        opacity = _enlarged(digits[chosen], side)
        color = _contrasting_color(rng, image[place])
        image[place] += opacity[..., np.newaxis] * (color - image[place])
        mask[place] = np.where(opacity >= _FOREGROUND, labels[chosen] + 1, np.where(opacity >= _BORDER, IGNORED, 0))
    return np.round(image).astype(np.uint8), mask


def _enlarged(digit: np.ndarray, side: int) -> np.ndarray:
    """Returns a digit with a margin and sharp edges, opacities in [0, 1], shape ``(side, side)``."""
    smooth = np.asarray(Image.fromarray(np.pad(digit, 1)).resize((side, side), Image.Resampling.BICUBIC))
    return np.clip(0.5 + _SHARPNESS * (smooth - 0.5), 0.0, 1.0)


def _free_place(rng: np.random.Generator, is_free: np.ndarray, side: int) -> tuple[slice, slice] | None:
    """Returns the rows and columns of a square without other digits, or None if there is no room."""
    for _ in range(_ATTEMPTS):
        top, left = rng.integers(RESOLUTION - side + 1, size=2)
        place = slice(top, top + side), slice(left, left + side)
        if is_free[place].all():
            return place
    return None


def _contrasting_color(rng: np.random.Generator, below: np.ndarray) -> np.ndarray:
    luminance = np.array([0.299, 0.587, 0.114])
    while True:
        color = rng.uniform(0, 255, 3)
        if abs(color @ luminance - (below @ luminance).mean()) >= _CONTRAST:
            return color.astype(np.float32)


def prepare_scenes(data_dir: str) -> tfds.core.DatasetBuilder:
    """Writes the records of the scenes, unless they exist already.

    Args:
        data_dir: folder of TFDS data sets, local or ``gs://``.

    Returns:
        The builder of the data set.

    Raises:
        UserError: ``data_dir`` is not writable, or the existing records are damaged.

    Example:
        >>> import hamgan
        >>> from hamgan.segmentation.data.scenes import prepare_scenes
        >>> prepare_scenes(hamgan.load("runs/scenes").config.data.data_dir).info.name
        'scenes'
    """
    try:
        builder = Scenes(data_dir=data_dir)
        builder.download_and_prepare(file_format="tfrecord")
    except TFDS_ERRORS as error:
        raise UserError(
            f"cannot prepare the scenes in {data_dir}: {reason_of(error)}; pass another --data_dir"
        ) from error
    return builder
