"""Checks that an image file can be decoded, and converts it to a JPEG in RGB or grayscale."""

import numpy as np
import simplejpeg
import tensorflow as tf

from data_prep.collection import DamagedImageError
from hamgan.errors import reason_of

MAX_PIXELS = 1 << 28
"""Maximum number of pixels of an image. A larger one could exhaust memory when decoded."""

CHECKS = ("structure", "full")
"""Ways to check a JPEG: see :func:`check_and_repair`."""

_JPEG = b"\xff\xd8\xff"
_END_OF_JPEG = b"\xff\xd9"
_START_OF_SCAN = 0xDA
_SEGMENTS_BEFORE_SCAN = frozenset({0xC0, 0xC1, 0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)})
"""Baseline and extended frames, Huffman and quantization tables, restart interval, comment, APP0 to APP15."""
_HOLE = bytes(32)
"""Zeros, the content of a region that was never written. Rare in entropy-coded data."""
_PNG = b"\x89PNG\r\n\x1a\n"
_FOUR_CHANNELS = ("CMYK", "YCCK")
_THUMBNAIL_FACTOR = 8
_REPAIRED_QUALITY = 100
"""Quality that the stock TFDS builder uses for its repairs."""
_DATA_MISSING = "Corrupt JPEG data: premature end of data segment"
"""Warning of libjpeg-turbo. If its wording changed, every file would be decoded, which is slower but correct."""


def check_and_repair(data: bytes, check: str = "structure") -> tuple[bytes, str | None, str]:
    """Returns a JPEG in RGB or grayscale that TensorFlow can decode.

    A valid JPEG is returned unchanged. CMYK and PNG files are converted with the same operations as in the stock TFDS
    builder, so the result has the same bytes.

    Args:
        data: content of the image file.
        check: "structure" checks everything that can make TensorFlow reject a JPEG (segments, tables, all markers, the
            end) and decodes only files with an unusual structure; "full" decodes every file, which also detects damage
            that TensorFlow ignores.

    Returns:
        The JPEG; the kind of problem (key of ``data_prep.problems.KINDS``) or None; and a description of the problem.

    Raises:
        DamagedImageError: the file cannot be decoded, or has more than 2^28 pixels.
    """
    if data.startswith(_JPEG):
        return _check_jpeg(data, check)
    if not data:
        raise DamagedImageError("the file is empty")
    kind = "png" if data.startswith(_PNG) else "other_format"
    pixels = _decoded(data)
    return _encoded(pixels), kind, ""


def _check_jpeg(data: bytes, check: str) -> tuple[bytes, str | None, str]:
    try:
        height, width, color_space, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    except (ValueError, KeyError) as error:  # simplejpeg raises a KeyError for a truncated header
        raise DamagedImageError("the header cannot be read") from error
    _check_size(height, width)
    if color_space in _FOUR_CHANNELS:
        return _encoded(_decoded(data)), "cmyk", ""
    if check == "structure" and _has_usual_structure(data):
        return data, None, ""
    try:
        _decode_thumbnail(data)
    except ValueError as error:
        # An error or only a warning: what matters is whether TensorFlow can decode the file.
        _decoded(data)
        return data, "warning", str(error)
    return data, None, ""


def _has_usual_structure(data: bytes) -> bool:
    """Whether a JPEG has a single scan, valid tables, and only entropy-coded data between scan header and end.

    TensorFlow can decode any such file: all entropy-coded data decodes to some pixels.
    """
    scan = _start_of_entropy_coded_data(data)
    if scan is None or not data.endswith(_END_OF_JPEG) or data.find(_HOLE, scan) >= 0:
        return False
    coded = np.frombuffer(data, np.uint8, offset=scan)
    after_ff = coded[np.flatnonzero(coded[:-1] == 0xFF) + 1]
    # FF 00 encodes FF, and FF D0 to FF D7 restart the decoder. All others are markers; only the final one is allowed.
    markers = np.count_nonzero((after_ff != 0) & ((after_ff & 0xF8) != 0xD0))
    if markers != 1:
        return False
    try:
        # Decode without the entropy-coded data, to save time: tables are checked before the data is found missing.
        _decode_thumbnail(data[:scan] + _END_OF_JPEG)
    except ValueError as error:
        return str(error).startswith(_DATA_MISSING)
    return False


def _start_of_entropy_coded_data(data: bytes) -> int | None:
    """Returns the offset of the first scan's data, or None if an unusual segment precedes it."""
    position = 2
    while position + 4 <= len(data):
        start, marker = data[position], data[position + 1]
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if start == 0xFF and marker == _START_OF_SCAN:
            return end if end < len(data) else None
        if start != 0xFF or marker not in _SEGMENTS_BEFORE_SCAN or end < position + 4:
            return None
        position = end
    return None


def _decode_thumbnail(data: bytes) -> None:
    """Decodes at 1/8 of the size, which reads all entropy-coded data but skips most other work."""
    simplejpeg.decode_jpeg(
        data,
        colorspace="GRAY",
        fastdct=True,
        fastupsample=True,
        min_height=1,
        min_width=1,
        min_factor=_THUMBNAIL_FACTOR,
    )


def _check_size(height: int, width: int) -> None:
    if height * width > MAX_PIXELS:
        raise DamagedImageError(f"the image has {height} x {width} pixels, more than {MAX_PIXELS:,}")


def _decoded(data: bytes) -> tf.Tensor:
    try:
        pixels = tf.io.decode_image(data, channels=3, expand_animations=False)
    except tf.errors.OpError as error:
        raise DamagedImageError(reason_of(error)) from error
    _check_size(*pixels.shape[:2])
    return pixels


def _encoded(pixels: tf.Tensor) -> bytes:
    return tf.io.encode_jpeg(pixels, format="rgb", quality=_REPAIRED_QUALITY).numpy()
