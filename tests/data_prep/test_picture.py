import io

import numpy as np
import pytest
from PIL import Image
from png_bomb import png_bomb

from data_prep.collection import DamagedImageError
from data_prep.picture import central_square, fitted, is_picture, size_of, unsupported_format, upright_rgb

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


def _file(image, file_format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def _read(data):
    return np.asarray(upright_rgb(data))


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "WEBP"])
def test_lossless_formats_keep_every_pixel(file_format):
    data = _file(Image.fromarray(PIXELS), file_format, **({"lossless": True} if file_format == "WEBP" else {}))
    assert is_picture(data)
    assert size_of(data) == (20, 30)
    np.testing.assert_array_equal(_read(data), PIXELS)


@pytest.mark.parametrize("file_format", ["JPEG", "GIF"])
def test_lossy_formats_are_close(file_format):
    smooth = np.linspace(0, 255, 30, dtype=np.uint8)[None, :, None].repeat(20, 0).repeat(3, 2)
    data = _file(Image.fromarray(smooth), file_format)
    assert is_picture(data)
    assert np.abs(_read(data).astype(int) - smooth).max() < 8


def test_first_frame_of_an_animation_is_used():
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    data = _file(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert _read(data)[4, 4].tolist() == [255, 0, 0]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_parts_become_white(mode):
    rng = np.random.default_rng(1)
    image = Image.fromarray(rng.integers(0, 256, (9, 9, 4), np.uint8), "RGBA")
    data = _file(image.convert(mode))
    stored = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA")).astype(np.float64)
    alpha = stored[..., 3:] / 255
    expected = stored[..., :3] * alpha + 255 * (1 - alpha)
    assert alpha.min() < 1
    assert np.abs(_read(data) - expected).max() <= 1


def test_transparent_color_of_a_palette_becomes_white():
    image = Image.new("P", (4, 4), 0)
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((2, 1), 1)
    pixels = _read(_file(image, transparency=0))
    assert pixels[1, 2].tolist() == [0, 255, 0]
    assert pixels[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_16_bits_are_scaled_to_8(file_format):
    values = np.array([[0, 128, 129, 257, 32768, 65407, 65535]], np.uint16)
    pixels = _read(_file(Image.fromarray(values), file_format))
    np.testing.assert_array_equal(pixels[..., 0], np.round(values.astype(np.float64) / 257))


def test_other_modes_become_rgb():
    black_and_white = Image.fromarray(PIXELS[..., 0]).convert("1")
    assert set(np.unique(_read(_file(black_and_white)))) == {0, 255}
    gray = _read(_file(Image.fromarray(PIXELS[..., 0])))
    np.testing.assert_array_equal(gray, PIXELS[..., :1].repeat(3, 2))
    cmyk = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    for file_format in ("TIFF", "JPEG"):
        assert np.abs(_read(_file(cmyk, file_format)).astype(int) - [0, 255, 255]).max() <= 2


ORIENTED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright),
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}


@pytest.mark.parametrize("orientation", ORIENTED)
def test_exif_orientation_is_applied(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(ORIENTED[orientation](PIXELS))
    np.testing.assert_array_equal(_read(_file(Image.fromarray(stored), exif=exif)), PIXELS)


def test_damaged_exif_is_ignored():
    data = _file(Image.fromarray(PIXELS), exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + b"\1" * 40)
    np.testing.assert_array_equal(_read(data), PIXELS)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_truncated_file_is_damaged(file_format):
    data = _file(Image.fromarray(PIXELS), file_format)
    with pytest.raises(DamagedImageError) as raised:
        upright_rgb(data[: len(data) // 2])
    assert " at 0x" not in str(raised.value)  # would differ from process to process


def test_decompression_bomb_is_refused_by_its_header():
    for read in (size_of, upright_rgb):
        with pytest.raises(DamagedImageError, match="exceeds limit"):
            read(png_bomb())


@pytest.mark.parametrize("data", [b"", b"not a picture", b"\xff\xd8\xff", b"BM", b"II*\0" + b"\xff" * 64])
def test_anything_else_is_damaged(data):
    with pytest.raises(DamagedImageError):
        size_of(data)


def test_programs_are_never_started():
    assert not is_picture(b"%!PS-Adobe-3.0 EPSF-3.0")
    with pytest.raises(DamagedImageError, match="cannot identify image file"):
        upright_rgb(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n%%EOF")


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (b"\0\0\0\x1cftypavif", "AVIF"),
        (b'<?xml version="1.0"?>\n<svg>', "SVG"),
        (b"hello", None),
    ],
)
def test_unsupported_formats_have_a_name(data, name):
    assert unsupported_format(data) == name
    assert not is_picture(data)


def test_central_square_and_whole_picture():
    image = Image.new("RGB", (60, 20), "red")
    image.paste("white", (20, 0, 40, 20))
    np.testing.assert_array_equal(np.asarray(fitted(central_square(image), 8)), 255)
    whole = np.asarray(fitted(image, 60))
    assert not whole[:20].any()
    assert not whole[40:].any()
    np.testing.assert_array_equal(whole[20:40], np.asarray(image))
    assert np.asarray(fitted(Image.new("RGB", (5000, 2), "white"), 32)).any(axis=(1, 2)).sum() == 1


@pytest.mark.parametrize("resolution", [32, 64])
def test_resizing_antialiases(resolution):
    """Stripes of one pixel become gray; without antialiasing they would stay black or white."""
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    resized = np.asarray(fitted(Image.fromarray(stripes), resolution)).astype(int)
    assert np.abs(resized[2:-2, 2:-2] - 127.5).max() < 2


def test_large_jpeg_is_reduced_while_decoding_and_gives_nearly_the_same_picture():
    y, x = np.mgrid[:1540, :1600] / 100
    waves = np.stack([np.sin(x + y), np.cos(3 * x), np.sin(2 * y)], axis=-1)
    full = Image.fromarray(np.uint8(np.round(127.5 + 127.5 * waves)))
    data = _file(full, "JPEG", quality=95)
    fast = upright_rgb(data)
    assert fast.size == (800, 770)
    expected = central_square(full).resize((64, 64), Image.Resampling.LANCZOS)
    difference = np.asarray(fitted(central_square(fast), 64)).astype(int) - np.asarray(expected)
    assert np.abs(difference).mean() < 1.5
