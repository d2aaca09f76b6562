"""Images in an ``.npz`` file, in the layout of the guided-diffusion evaluator, as images to score."""

import functools
import hashlib
import logging
from collections.abc import Iterator
from typing import Any

import numpy as np

from hamgan.counted import counted
from hamgan.errors import UserError
from hamgan.evaluation.feature_extractor import FeatureExtractor
from hamgan.evaluation.image_sources import ImageSource, unlabelled
from hamgan.evaluation.stored_features import Batches
from hamgan.npz_file import read_header, read_rows, reading_npz

_logger = logging.getLogger(__name__)

IMAGES = "arr_0"
_HASHED_ROWS = 64


class NpzImages(ImageSource):
    """The array ``arr_0`` of an ``.npz`` file, read in parts: uint8, ``(n, height, width, 3)``, or 1 channel for gray.

    Args:
        path: path of the file, local or ``gs://``.

    Raises:
        UserError: the file cannot be read, or the array has another type or shape.
    """

    def __init__(self, path: str) -> None:
        with reading_npz(path) as archive:
            shape, dtype, is_fortran = read_header(archive, IMAGES)
        if dtype != np.uint8 or len(shape) != 4 or shape[-1] not in (1, 3) or 0 in shape or is_fortran:
            order = " in Fortran order" if is_fortran else ""
            raise UserError(
                f"{path}: expected {IMAGES} to be uint8 of shape (n, height, width, 3), or 1 channel for gray images, "
                f"found {dtype} of shape {shape}{order}; write it with np.savez(path, images)"
            )
        super().__init__(path, shape[0])
        self._shape = shape

    def card(self) -> dict[str, Any]:
        """Returns kind, count and digest of the pixels."""
        return {"kind": "array of images", "images": self.count, "sha256": self._sha256}

    @functools.cached_property
    def _sha256(self) -> str:
        """SHA-256 of shape and pixels, which does not depend on compression and other arrays."""
        _logger.info("Hashing %s of %s", counted(self.count, "image"), self.name)
        digest = hashlib.sha256(repr(self._shape).encode())
        with reading_npz(self.name) as archive:
            for rows in read_rows(archive, IMAGES, first=0, batch=_HASHED_ROWS):
                digest.update(rows.tobytes())
        return digest.hexdigest()

    def features(self, extractor: FeatureExtractor, first: int) -> Batches:
        """Yields features; see :meth:`ImageSource.features`."""
        return unlabelled(extractor.of_pixels(self._images(first), _rgb))

    def _images(self, first: int) -> Iterator[np.ndarray]:
        with reading_npz(self.name) as archive:
            for rows in read_rows(archive, IMAGES, first=first, batch=_HASHED_ROWS):
                yield from rows


def _rgb(image: np.ndarray) -> np.ndarray:
    return np.broadcast_to(image, (*image.shape[:2], 3))
