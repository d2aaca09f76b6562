import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from hamgan.data.image_file import read_image
from hamgan.data.preprocessing import preprocess
from hamgan.errors import UserError

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def _saved(image, path, **options):
    image.save(path, **options)
    return str(path)


def test_a_picture_is_preprocessed_like_those_of_a_data_set(tmp_path):
    path = _saved(Image.fromarray(PIXELS), tmp_path / "picture.png")
    for channels in (1, 3):
        expected = preprocess(tf.constant(PIXELS), 32, channels).numpy()
        np.testing.assert_array_equal(read_image(path, resolution=32, channels=channels), expected)


def test_the_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    path = _saved(Image.fromarray(PIXELS), tmp_path / "turned.png", exif=exif)
    expected = preprocess(tf.constant(np.rot90(PIXELS, -1)), 32).numpy()
    np.testing.assert_array_equal(read_image(path, resolution=32), expected)


def test_gray_wide_and_transparent_pixels_become_rgb(tmp_path):
    gray = PIXELS[..., 0]
    expected = preprocess(tf.constant(np.repeat(gray[..., np.newaxis], 3, axis=2)), 32).numpy()
    for name, image in (("8", Image.fromarray(gray)), ("16", Image.fromarray(gray.astype(np.uint16) * 257))):
        path = _saved(image, tmp_path / f"{name}.png")
        np.testing.assert_array_equal(read_image(path, resolution=32), expected)
    clear = np.concatenate([PIXELS, np.zeros((40, 60, 1), np.uint8)], axis=2)
    path = _saved(Image.fromarray(clear), tmp_path / "clear.png")
    np.testing.assert_array_equal(read_image(path, resolution=32), np.ones((32, 32, 3), np.float32))


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "found an empty file"), (b"text", "found none that Pillow can open"), (None, "found one that is damaged")],
)
def test_other_files_are_refused(tmp_path, content, message):
    path = tmp_path / "file.png"
    if content is None:
        _saved(Image.fromarray(PIXELS), path)
        content = path.read_bytes()[:2000]
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_image(str(path), resolution=32)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot read"):
        read_image(str(tmp_path / "none.png"), resolution=32)
