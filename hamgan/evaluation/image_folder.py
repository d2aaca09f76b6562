"""A folder of image files as images to score."""

import functools
import hashlib
import io
import logging
import warnings
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from hamgan.counted import counted
from hamgan.errors import UserError, reason_of
from hamgan.evaluation.feature_extractor import FeatureExtractor
from hamgan.evaluation.image_files import find_image_files, readable_formats
from hamgan.evaluation.image_sources import ImageSource, unlabelled
from hamgan.evaluation.stored_features import Batches

_logger = logging.getLogger(__name__)

_EIGHT_BITS = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")


class ImageFolder(ImageSource):
    """The image files of a folder and its subfolders, sorted by path. Images may differ in size.

    Files count by their suffix, any that Pillow opens. Hidden files are ignored.

    Args:
        path: local or ``gs://`` folder.

    Raises:
        UserError: the folder has no images.
    """

    def __init__(self, path: str) -> None:
        self._paths, ignored = find_image_files(path)
        if not self._paths:
            found = counted(ignored, "other file") if ignored else "no files"
            raise UserError(f"{path}: expected images such as .png or .jpg, or a run with config.json; found {found}")
        super().__init__(path, len(self._paths))
        if ignored:
            _logger.info("%s: files that are not images, ignored: %s", path, f"{ignored:,}")

    def card(self) -> dict[str, Any]:
        """Returns kind, count and digest of the files."""
        return {"kind": "image files", "images": self.count, "sha256": self._sha256}

    @functools.cached_property
    def _sha256(self) -> str:
        """SHA-256 of the sizes and contents of all files in order. Paths matter by their order only."""
        _logger.info("Hashing %s of %s", counted(self.count, "file"), self.name)
        digest = hashlib.sha256()
        for path in self._paths:
            content = _read(path)
            digest.update(len(content).to_bytes(8, "little"))
            digest.update(content)
        return digest.hexdigest()

    def features(self, extractor: FeatureExtractor, first: int) -> Batches:
        """Yields features; see :meth:`ImageSource.features`."""
        return unlabelled(extractor.of_pixels(self._paths[first:], read_rgb))


def read_rgb(path: str) -> np.ndarray:
    """Returns the pixels of an image file, as Pillow converts them to RGB, and as other tools for FID read them.

    Gray images get three equal channels. The EXIF orientation is not applied. Of an animation, the first frame counts.

    Args:
        path: path of the file, local or ``gs://``.

    Returns:
        uint8, ``(height, width, 3)``.

    Raises:
        UserError: the file is damaged, has more than 8 bits per channel, or has transparent pixels.
    """
    content = _read(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata
            with Image.open(io.BytesIO(content), formats=readable_formats()) as image:
                image.load()
                mode = image.mode
                has_alpha = mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
                is_opaque = mode in _EIGHT_BITS and (not has_alpha or _is_opaque(image))
                pixels = np.array(image.convert("RGB"))
    except Exception as error:  # Pillow's decoders raise many types for damaged files
        raise UserError(
            f"{path} cannot be read as an image ({reason_of(error)}); replace or remove it, and score again"
        ) from error
    if mode not in _EIGHT_BITS:
        raise UserError(f"{path}: expected 8 bits per channel, found mode {mode} of Pillow; convert it to 8 bits")
    if not is_opaque:
        raise UserError(f"{path}: expected opaque images, found transparent pixels; put them on a background first")
    return pixels


def _is_opaque(image: Image.Image) -> bool:
    alpha = image.convert("LA" if image.mode in ("LA", "La", "L") else "RGBA").getchannel("A")
    return bool(alpha.getextrema()[0] == 255)


def _read(path: str) -> bytes:
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            return file.read()
    except (OSError, tf.errors.OpError) as error:
        raise UserError(f"cannot read {path}: {reason_of(error)}") from error
