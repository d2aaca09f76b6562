import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from hamgan.errors import UserError
from hamgan.evaluation.resizing import check_resizing, resized

SIZES = [((40, 56), 17), ((17, 12), 40), ((32, 32), 32)]


def _image(height, width):
    # Edges between black and white, where bicubic filters overshoot.
    return np.random.default_rng(height).choice(np.array([0, 30, 255], np.uint8), (height, width, 3))


@pytest.mark.parametrize(("shape", "size"), SIZES)
def test_bicubic_is_pillow_s_of_float32_channels_clipped(shape, size):
    image = _image(*shape)
    result = (resized(image, size, "bicubic") + 1) * 127.5
    assert result.shape == (size, size, 3)
    for channel in range(3):
        in_float = Image.fromarray(image[..., channel].astype(np.float32))
        expected = np.asarray(in_float.resize((size, size), Image.Resampling.BICUBIC)).clip(0, 255)
        np.testing.assert_allclose(result[..., channel], expected, atol=1e-4)


def _bicubic_weights(size, new_size):
    """Keys' kernel with a = -1/2, widened by the reduction: antialiased."""
    scale = size / new_size
    support = max(scale, 1.0)
    centres = (np.arange(new_size) + 0.5) * scale
    x = np.abs(np.arange(size) + 0.5 - centres[:, np.newaxis]) / support
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    weights = np.where(x < 1, near, np.where(x < 2, far, 0))
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("shape", "size"), SIZES)
def test_bicubic_is_antialiased_and_clips_only_the_result(shape, size):
    image = _image(*shape)
    rows, columns = (_bicubic_weights(length, size) for length in shape)
    expected = np.einsum("ai,bj,ijc->abc", rows, columns, image.astype(np.float64)).clip(0, 255)
    np.testing.assert_allclose((resized(image, size, "bicubic") + 1) * 127.5, expected, atol=1e-3)


@pytest.mark.parametrize(("shape", "size"), SIZES)
def test_bilinear_is_that_of_the_classifier(shape, size):
    image = _image(*shape)
    expected = tf.image.resize(image.astype(np.float32) / 127.5 - 1, (size, size), antialias=False)
    np.testing.assert_allclose(resized(image, size, "bilinear"), expected, atol=1e-6)


def test_unknown_methods_are_refused():
    with pytest.raises(UserError, match="bilinear or bicubic, found 'lanczos'"):
        check_resizing("lanczos")
