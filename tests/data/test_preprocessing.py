import math

import numpy as np
import pytest
import tensorflow as tf

from hamgan.data.preprocessing import preprocess, with_channels


def _expected(image: np.ndarray, resolution: int) -> np.ndarray:
    """Samples bilinearly in float64 at the positions that the corners of the box define."""
    height, width, _ = image.shape
    side = min(height, width)
    axes = []
    for length in (height, width):
        first = math.ceil((length - side) / 2)
        axes.append(first + np.arange(resolution) * (side - 1) / (resolution - 1))
    (y, x) = axes
    y0, x0 = np.floor(y).astype(int), np.floor(x).astype(int)
    y1, x1 = np.minimum(y0 + 1, height - 1), np.minimum(x0 + 1, width - 1)
    fy, fx = (y - y0)[:, None, None], (x - x0)[None, :, None]
    image = image.astype(np.float64)
    top = image[y0][:, x0] * (1 - fx) + image[y0][:, x1] * fx
    bottom = image[y1][:, x0] * (1 - fx) + image[y1][:, x1] * fx
    return (top * (1 - fy) + bottom * fy) * 2 / 255 - 1


@pytest.mark.parametrize("size", [(37, 53), (64, 41), (32, 32), (129, 400)])
def test_crops_the_central_square_and_resamples(size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    result = preprocess(tf.constant(image), 32).numpy()
    assert result.dtype == np.float32
    # crop_and_resize computes positions in float32, which shifts the samples of a noise image slightly.
    np.testing.assert_allclose(result, _expected(image, 32), atol=2e-4)


def test_image_of_the_target_size_is_only_scaled():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    np.testing.assert_allclose(preprocess(tf.constant(image), 32), image * (2 / 255) - 1.0, atol=1e-5)


def test_grayscale_becomes_rgb():
    image = np.random.default_rng(0).integers(0, 256, (40, 32, 1), np.uint8)
    result = preprocess(tf.constant(image), 32)
    np.testing.assert_array_equal(result, preprocess(tf.constant(np.repeat(image, 3, -1)), 32))


def test_rgb_becomes_luminance():
    image = np.random.default_rng(0).integers(0, 256, (40, 32, 3), np.uint8)
    rgb = preprocess(tf.constant(image), 32).numpy().astype(np.float64)
    expected = 0.299 * rgb[..., 0] + 0.587 * rgb[..., 1] + 0.114 * rgb[..., 2]
    result = preprocess(tf.constant(image), 32, channels=1)
    assert result.shape == (32, 32, 1)
    np.testing.assert_allclose(result[..., 0], expected, atol=1e-6)
    for level in (-1.0, 1.0):
        np.testing.assert_allclose(with_channels(tf.fill((2, 2, 3), level), 1), np.full((2, 2, 1), level), atol=1e-7)
    assert with_channels(tf.ones((2, 2, 3)), 1).numpy().max() <= 1


def test_gray_stays_gray():
    image = np.random.default_rng(0).integers(0, 256, (40, 32, 1), np.uint8)
    result = preprocess(tf.constant(image), 32, channels=1)
    np.testing.assert_array_equal(result, preprocess(tf.constant(image), 32)[..., :1])
    np.testing.assert_array_equal(with_channels(result, 3), preprocess(tf.constant(image), 32))


def test_single_pixel_fills_the_image():
    result = preprocess(tf.constant([[[255, 0, 51]]], tf.uint8), 4)
    np.testing.assert_allclose(result, np.broadcast_to([1.0, -1.0, -0.6], (4, 4, 3)), atol=1e-6)


@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 255), (np.uint16, 65_535), (np.float32, 1.0)])
def test_black_and_white_are_minus_one_and_one_for_every_dtype(dtype, white):
    random = np.random.default_rng(0).random((40, 52, 3)) * white
    image = (random if dtype == np.float32 else np.rint(random)).astype(dtype)
    image[:, :20] = white
    result = preprocess(tf.constant(image), 32).numpy()
    np.testing.assert_allclose(result, _expected(image / white * 255, 32), atol=2e-4)
    assert result.max() == pytest.approx(1.0, abs=1e-6)
    black = preprocess(tf.zeros((8, 8, 3), dtype), 8).numpy()
    np.testing.assert_array_equal(black, np.full((8, 8, 3), -1.0))


@pytest.mark.parametrize("dtype", ["int32", "float64", "bool"])
def test_unsupported_dtype_is_rejected(dtype):
    with pytest.raises(ValueError, match=f"image dtype must be one of uint8, uint16, float32, received {dtype}"):
        preprocess(tf.zeros((8, 8, 3), dtype), 8)
