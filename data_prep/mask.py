"""Reads masks: the index of each pixel, never its color."""

import numpy as np
from PIL import Image

from data_prep.picture import with_image
from data_prep.sbd_file import is_sbd_file, read_sbd_file

_FORMATS = ("PNG", "BMP", "TIFF")
"""Formats that keep indices. Programs that write GIF number the colors anew."""
_INDEX_MODES = ("1", "L", "P", "I;16", "I;16L", "I;16B", "I")
"""Pillow's modes whose pixels are one number."""


class MaskFormatError(Exception):
    """A file is not damaged, but does not store an index for each pixel."""


def read_mask(data: bytes) -> np.ndarray:
    """Returns the indices of a mask: those of a palette PNG, the gray values of another one, or the classes of SBD.

    Args:
        data: content of a PNG, BMP or TIFF file, or of a MATLAB file of SBD.

    Returns:
        Integers, shape ``(height, width)``.

    Raises:
        MaskFormatError: the file stores colors, or is of a format that changes values.
        DamagedImageError: the file cannot be read.
    """
    if is_sbd_file(data):
        return read_sbd_file(data)
    found = with_image(data, _indices)
    if isinstance(found, str):
        raise MaskFormatError(f"{found}; expected a PNG with a palette or in gray")
    return found


def _indices(image: Image.Image) -> np.ndarray | str:
    """Returns the pixels, or a description of what the file stores instead of indices."""
    if image.format not in _FORMATS:
        return f"{image.format}, which changes values"
    if image.mode not in _INDEX_MODES:
        return f"{image.mode} pixels"
    image.load()
    pixels = np.asarray(image)
    return pixels.astype(np.uint8) if pixels.dtype == np.bool_ else pixels


def values_of(mask: np.ndarray) -> tuple[int, ...]:
    """Returns the values that occur in a mask, in ascending order.

    Args:
        mask: integers, shape ``(height, width)``.
    """
    if mask.dtype == np.uint8:
        return tuple(np.flatnonzero(np.bincount(mask.ravel(), minlength=256)).tolist())
    return tuple(np.unique(mask).tolist())
