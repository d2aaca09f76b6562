"""One image file: whether it decodes, and what has to be repaired before it can be stored."""

import numpy as np
import simplejpeg
import tensorflow as tf

from hamgan.errors import reason_of

MAX_PIXELS = 1 << 28
"""Larger images are refused: decoded, they would fill the memory of whoever trains on them."""

CHECKS = ("structure", "full")

_JPEG = b"\xff\xd8\xff"
_END_OF_JPEG = b"\xff\xd9"
_START_OF_SCAN = 0xDA
_SEGMENTS_BEFORE_SCAN = frozenset({0xC0, 0xC1, 0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)})
"""Baseline and extended frames, Huffman and quantisation tables, restart interval, comment, APP0 to APP15."""
_UNWRITTEN = bytes(32)
"""What a part of a file that was never written reads as; rare in entropy-coded data."""
_PNG = b"\x89PNG\r\n\x1a\n"
_FOUR_CHANNELS = ("CMYK", "YCCK")
_THUMBNAIL_FACTOR = 8
_REPAIRED_QUALITY = 100
"""As the stock TFDS builder repairs the files that it knows of."""
_DATA_MISSING = "Corrupt JPEG data: premature end of data segment"
"""libjpeg-turbo's warning; were it worded otherwise, every file would be decoded."""


class DamagedImageError(Exception):
    """An image file does not decode."""


def check_and_repair(data: bytes, check: str = "structure") -> tuple[bytes, str | None, str]:
    """Returns a JPEG in RGB or gray that TensorFlow decodes.

    A sound JPEG is returned as it is. CMYK and PNG are converted with the operations of the stock TFDS builder, so that
    the result has the same bytes.

    Args:
        data: the file.
        check: "structure" looks at all that can make TensorFlow refuse a JPEG (its segments and tables, every marker,
            its end), and decodes files in which anything is unusual; "full" decodes every file, which also notices
            damage that TensorFlow decodes without an error.

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
    if check == "structure" and _has_usual_structure(data):
        return data, None, ""
    try:
        _decode_thumbnail(data)
    except ValueError as error:
        # An error or a warning: TensorFlow, which is to read the file later, decides.
        _decoded(data)
        return data, "warning", str(error)
    return data, None, ""


def _has_usual_structure(data: bytes) -> bool:
    """Whether a JPEG has one scan, tables that a decoder accepts, and nothing but entropy-coded data up to its end.

    TensorFlow decodes such a file: whatever the entropy-coded data is, it means some pixels.
    """
    scan = _start_of_entropy_coded_data(data)
    if scan is None or not data.endswith(_END_OF_JPEG) or data.find(_UNWRITTEN, scan) >= 0:
        return False
    coded = np.frombuffer(data, np.uint8, offset=scan)
    after_ff = coded[np.flatnonzero(coded[:-1] == 0xFF) + 1]
    # FF 00 stands for FF; FF D0 to FF D7 restart the decoder. Any other is a marker, of which the last ends the image.
    markers = np.count_nonzero((after_ff != 0) & ((after_ff & 0xF8) != 0xD0))
    if markers != 1:
        return False
    try:
        # Without the coded data, which would take the time: the decoder has accepted all tables before it misses them.
        _decode_thumbnail(data[:scan] + _END_OF_JPEG)
    except ValueError as error:
        return str(error).startswith(_DATA_MISSING)
    return False


def _start_of_entropy_coded_data(data: bytes) -> int | None:
    """Where the first scan's data begins; None if segments of another kind than usual come before it."""
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
    """Reads all of the entropy-coded data, which is where files are damaged; leaves the rest undone."""
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
        raise DamagedImageError(f"it has {height} x {width} pixels, more than {MAX_PIXELS:,}")


def _decoded(data: bytes) -> tf.Tensor:
    try:
        pixels = tf.io.decode_image(data, channels=3, expand_animations=False)
    except tf.errors.OpError as error:
        raise DamagedImageError(reason_of(error)) from error
    _check_size(*pixels.shape[:2])
    return pixels


def _encoded(pixels: tf.Tensor) -> bytes:
    return tf.io.encode_jpeg(pixels, format="rgb", quality=_REPAIRED_QUALITY).numpy()
