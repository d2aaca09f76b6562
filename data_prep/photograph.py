"""One image file: whether it decodes, and what has to be repaired before it can be stored."""

import re

import simplejpeg
import tensorflow as tf

MAX_PIXELS = 1 << 28
"""Larger images are refused: decoded, they would fill the memory of whoever trains on them."""

CHECKS = ("full", "quick")

_JPEG = b"\xff\xd8\xff"
_END_OF_JPEG = b"\xff\xd9"
_PNG = b"\x89PNG\r\n\x1a\n"
_FOUR_CHANNELS = ("CMYK", "YCCK")
_THUMBNAIL_FACTOR = 8
_REPAIRED_QUALITY = 100
"""As the stock TFDS builder repairs the files that it knows of."""


class DamagedImageError(Exception):
    """An image file does not decode."""


def check_and_repair(data: bytes, check: str = "full") -> tuple[bytes, str | None, str]:
    """Returns a JPEG in RGB or gray that TensorFlow decodes.

    A sound JPEG is returned as it is. CMYK and PNG are converted with the operations of the stock TFDS builder, so that
    the result has the same bytes.

    Args:
        data: the file.
        check: "full" decodes every file; "quick" reads a JPEG's header and looks for its end, and decodes it only if
            that is missing. That is as safe only for files that are known to have arrived as they were sent.

    Returns:
        The JPEG; the kind of oddity (a key of ``data_prep.problems.KINDS``) or None; and its detail.

    Raises:
        DamagedImageError: the file does not decode, or has more than 2^28 pixels.
    """
    if data.startswith(_JPEG):
        return _check_jpeg(data, check)
    if not data:
        raise DamagedImageError("it is empty")
    kind = "png" if data.startswith(_PNG) else "other_format"
    pixels = _decoded(data)
    return _encoded(pixels), kind, ""


def _check_jpeg(data: bytes, check: str) -> tuple[bytes, str | None, str]:
    try:
        height, width, color_space, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    except (ValueError, KeyError) as error:  # KeyError: what simplejpeg makes of an unfinished header
        raise DamagedImageError("its header cannot be read") from error
    _check_size(height, width)
    if color_space in _FOUR_CHANNELS:
        return _encoded(_decoded(data)), "cmyk", ""
    if check == "quick" and data.endswith(_END_OF_JPEG):
        return data, None, ""
    try:
        # All of the entropy-coded data is read, which is where files are damaged; the rest is left undone.
        simplejpeg.decode_jpeg(
            data,
            colorspace="GRAY",
            fastdct=True,
            fastupsample=True,
            min_height=1,
            min_width=1,
            min_factor=_THUMBNAIL_FACTOR,
        )
    except ValueError as error:
        # An error or a warning: TensorFlow, which is to read the file later, decides.
        _decoded(data)
        return data, "warning", str(error)
    return data, None, ""


def _check_size(height: int, width: int) -> None:
    if height * width > MAX_PIXELS:
        raise DamagedImageError(f"it has {height} x {width} pixels, more than {MAX_PIXELS:,}")


def _decoded(data: bytes) -> tf.Tensor:
    try:
        pixels = tf.io.decode_image(data, channels=3, expand_animations=False)
    except tf.errors.OpError as error:
        # TensorFlow puts the names of its operations around the reason.
        raise DamagedImageError(re.sub(r"^\{\{.*?\}\} | \[Op:\w+\].*$", "", error.message)) from error
    _check_size(*pixels.shape[:2])
    return pixels


def _encoded(pixels: tf.Tensor) -> bytes:
    return tf.io.encode_jpeg(pixels, format="rgb", quality=_REPAIRED_QUALITY).numpy()
