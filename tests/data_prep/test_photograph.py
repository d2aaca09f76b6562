import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from data_prep.photograph import DamagedImageError, check_and_repair


def _image(mode="RGB", form="JPEG", **options):
    pixels = np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, form, **options)
    return buffer.getvalue()


JPEG = _image()


@pytest.mark.parametrize("options", [{}, {"mode": "L"}, {"progressive": True}, {"quality": 100}])
def test_a_sound_jpeg_stays_as_it_is(options):
    data = _image(**options)
    assert check_and_repair(data) == (data, None, "")


def test_cmyk_and_png_become_what_the_stock_builder_makes_of_them():
    cmyk, png = _image("CMYK"), _image(form="PNG")
    assert check_and_repair(cmyk) == (tfds.core.utils.jpeg_cmyk_to_rgb(cmyk), "cmyk", "")
    assert check_and_repair(png) == (tfds.core.utils.png_to_jpeg(png), "png", "")


@pytest.mark.parametrize("form", ["GIF", "BMP", "WEBP"])
def test_other_formats_become_jpeg(form):
    repaired, kind, _ = check_and_repair(_image(form=form))
    assert kind == "other_format"
    assert tf.io.decode_jpeg(repaired).shape == (90, 120, 3)


def _with(position, replacement):
    data = bytearray(JPEG)
    data[position : position + len(replacement)] = replacement
    return bytes(data)


def _png_bomb():
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 10**6))


def _jpeg_bomb():
    size = JPEG.index(b"\xff\xc0") + 5
    return _with(size, struct.pack(">HH", 65_000, 65_000))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (JPEG[: len(JPEG) // 2], "Invalid JPEG data"),
        (JPEG[:-1], "Invalid JPEG data"),
        (JPEG[:50], "header cannot be read"),
        (_with(len(JPEG) // 2, b"\xff" * 40), "Invalid JPEG data"),
        (b"", "it is empty"),
        (b"<html>not found</html>", "Unknown image file format"),
        (_png_bomb(), "PNG size too large"),
        (_jpeg_bomb(), r"it has 65000 x 65000 pixels, more than 268,435,456"),
    ],
)
def test_what_does_not_decode_is_damaged(data, message):
    with pytest.raises(DamagedImageError, match=message):
        check_and_repair(data)


def test_a_quick_check_finds_what_is_cut_off_and_repairs_the_same():
    assert check_and_repair(JPEG, "quick") == (JPEG, None, "")
    for data in (_image("CMYK"), _image(form="PNG")):
        assert check_and_repair(data, "quick") == check_and_repair(data)
    for data in (JPEG[:-1], JPEG[:50], b""):
        with pytest.raises(DamagedImageError):
            check_and_repair(data, "quick")
    trailing = JPEG + b"\0\0"  # no end where it is looked for, but it decodes
    assert check_and_repair(trailing, "quick") == (trailing, None, "")


def test_what_decodes_with_a_warning_is_kept():
    data = _with(len(JPEG) // 2, b"\0" * 400)
    same, kind, message = check_and_repair(data)
    assert (same, kind) == (data, "warning")
    assert "Corrupt JPEG data" in message
    assert tf.io.decode_image(data).shape == (90, 120, 3)
