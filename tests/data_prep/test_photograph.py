import collections
import io
import struct

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image
from png_bomb import png_bomb

from data_prep.collection import DamagedImageError
from data_prep.photograph import CHECKS, check_and_repair


def _image(mode="RGB", file_format="JPEG", size=(90, 120), **options):
    pixels = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, file_format, **options)
    return buffer.getvalue()


JPEG = _image()


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(
    "options", [{}, {"mode": "L"}, {"progressive": True}, {"quality": 100}, {"restart_marker_blocks": 3}]
)
def test_valid_jpeg_is_unchanged(options, check):
    data = _image(**options)
    assert check_and_repair(data, check) == (data, None, "")


@pytest.mark.parametrize("check", CHECKS)
def test_cmyk_and_png_are_converted_as_by_the_stock_builder(check):
    cmyk, png = _image("CMYK"), _image(file_format="PNG")
    assert check_and_repair(cmyk, check) == (tfds.core.utils.jpeg_cmyk_to_rgb(cmyk), "cmyk", "")
    assert check_and_repair(png, check) == (tfds.core.utils.png_to_jpeg(png), "png", "")


@pytest.mark.parametrize("file_format", ["GIF", "BMP", "WEBP"])
def test_other_formats_become_jpeg(file_format):
    repaired, kind, _ = check_and_repair(_image(file_format=file_format))
    assert kind == "other_format"
    assert tf.io.decode_jpeg(repaired).shape == (90, 120, 3)


def _with(position, replacement):
    data = bytearray(JPEG)
    data[position : position + len(replacement)] = replacement
    return bytes(data)


def _jpeg_bomb():
    size = JPEG.index(b"\xff\xc0") + 5
    return _with(size, struct.pack(">HH", 65_000, 65_000))


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (JPEG[: len(JPEG) // 2], "Invalid JPEG data"),
        (JPEG[:-1], "Invalid JPEG data"),
        (JPEG[:50], "header cannot be read"),
        (_with(len(JPEG) // 2, b"\xff" * 40), "Invalid JPEG data"),
        (b"", "the file is empty"),
        (b"<html>not found</html>", "Unknown image file format"),
        (png_bomb(), "PNG size too large"),
        (_jpeg_bomb(), r"the image has 65000 x 65000 pixels, more than 268,435,456"),
    ],
)
def test_undecodable_image_is_damaged(data, message, check):
    with pytest.raises(DamagedImageError, match=message):
        check_and_repair(data, check)


def _mutated(rng):
    """Returns a small JPEG with one random change, half of the time in its headers."""
    options = {"progressive": rng.random() < 0.1, "optimize": rng.random() < 0.3, "quality": int(rng.integers(20, 100))}
    data = bytearray(_image(mode=rng.choice(["RGB", "L"]), size=rng.integers(16, 64, 2), **options))
    headers = data.rindex(b"\xff\xda") + 14
    position, length = int(rng.integers(2, rng.choice([headers, len(data)]))), int(rng.integers(1, 300))
    match rng.integers(6):
        case 0:
            data[position] = rng.integers(256)
        case 1:
            data[position] ^= 1 << rng.integers(8)
        case 2:
            del data[position : position + length]
        case 3:
            data[position : position + length] = rng.bytes(length)
        case 4:
            data[position : position + length] = bytes(length)
        case 5:
            data[position : position + 2] = bytes([0xFF, rng.integers(256)])
    return bytes(data) + (b"" if data.endswith(b"\xff\xd9") else b"\xff\xd9")


def test_both_checks_accept_exactly_what_tensorflow_decodes():
    rng = np.random.default_rng(0)
    seen = collections.Counter()
    for _ in range(600):
        data = _mutated(rng)
        try:
            tf.io.decode_image(data, channels=3, expand_animations=False)
            decodes = True
        except tf.errors.InvalidArgumentError:
            decodes = False
        for check in CHECKS:
            try:
                _, kind, _ = check_and_repair(data, check)
            except DamagedImageError:
                kind = "damaged"
            assert decodes == (kind != "damaged")
            seen[check, kind] += 1
    # The full check also reports damage that TensorFlow ignores.
    assert seen["structure", "damaged"] == seen["full", "damaged"] > 100
    assert seen["structure", None] > seen["full", None] > 100


def test_image_that_decodes_with_a_warning_is_kept():
    garbage = b"\x55\xaa" * 200
    data = _with(len(JPEG) // 2, garbage)
    same, kind, message = check_and_repair(data, "full")
    assert (same, kind) == (data, "warning")
    assert "Corrupt JPEG data" in message
    assert tf.io.decode_image(data).shape == (90, 120, 3)


def test_structure_check_decodes_files_with_unusual_structure():
    with_hole = _with(len(JPEG) // 2, bytes(400))
    assert check_and_repair(with_hole)[:2] == (with_hole, "warning")
    trailing = JPEG + b"\0\0"
    assert check_and_repair(trailing) == (trailing, None, "")
