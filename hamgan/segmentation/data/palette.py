"""Masks as pictures: PASCAL VOC's palette, index PNG files, and overlays on images."""

import functools
import io

import numpy as np
from PIL import Image

from hamgan.files import write_atomically

_BITS = 8


@functools.cache
def voc_palette() -> np.ndarray:
    """Returns the colors of PASCAL VOC, uint8, shape ``(256, 3)``; do not modify them.

    The bits of an index are dealt out to red, green and blue in turn, from the lowest on, and fill each color from its
    highest bit down.
    """
    indices = np.arange(1 << _BITS)
    palette = np.zeros((len(indices), 3), np.int64)
    for bit in range(_BITS):
        channel, place = bit % 3, _BITS - 1 - bit // 3
        palette[:, channel] |= (indices >> bit & 1) << place
    palette = palette.astype(np.uint8)
    palette.flags.writeable = False
    return palette


def encode_mask(mask: np.ndarray) -> bytes:
    """Returns a mask as an 8-bit PNG file with VOC's palette, whose pixels are the classes.

    Args:
        mask: classes, uint8, shape ``(height, width)``.

    Raises:
        ValueError: the mask has another dtype or shape.
    """
    if mask.dtype != np.uint8 or mask.ndim != 2:
        raise ValueError(f"mask must be uint8 of shape (height, width), received {mask.dtype} of {mask.shape}")
    image = Image.fromarray(np.ascontiguousarray(mask))
    image.putpalette(voc_palette().tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def write_mask(path: str, mask: np.ndarray) -> None:
    """Writes a mask as an index PNG file, see :func:`encode_mask`.

    Args:
        path: path of the file, local or ``gs://``.
        mask: classes, uint8, shape ``(height, width)``.
    """
    write_atomically(path, encode_mask(mask))


def overlay(image: np.ndarray, mask: np.ndarray, *, opacity: float = 0.5) -> np.ndarray:
    """Colors an image by the classes of its pixels, and pixels to ignore in light gray; class 0 stays as it is.

    Args:
        image: uint8, shape ``(height, width, 3)``.
        mask: classes, uint8, shape ``(height, width)``.
        opacity: share of the class colors, in [0, 1].

    Returns:
        Image, uint8, shape ``(height, width, 3)``.
    """
    colored = (1 - opacity) * image + opacity * voc_palette()[mask].astype(np.float32)
    return np.where(mask[..., np.newaxis] == 0, image, np.round(colored).astype(np.uint8))


def side_by_side(*images: np.ndarray, gap: int = 6) -> np.ndarray:
    """Returns images of equal height beside each other, on white.

    Args:
        images: uint8, shape ``(height, width, 3)``.
        gap: pixels between two images.
    """
    space = np.full((len(images[0]), gap, 3), 255, np.uint8)
    parts = [part for image in images for part in (space, image)]
    return np.concatenate(parts[1:], axis=1)
