import numpy as np
import pytest
import tensorflow as tf

from hamgan.layers import bilinear_resize


def source(position, size):
    """The two neighbours of a position and the weight of the second."""
    low = min(int(np.floor(position)), size - 1)
    return low, min(low + 1, size - 1), position - low


def expected_resize(images, size, align_corners):
    outputs = np.zeros((images.shape[0], *size, images.shape[-1]))
    positions = []
    for new, old in zip(size, images.shape[1:3], strict=True):
        if align_corners:
            positions.append([index * (old - 1) / max(new - 1, 1) for index in range(new)])
        else:
            positions.append([np.clip((index + 0.5) * old / new - 0.5, 0, old - 1) for index in range(new)])
    for row, y in enumerate(positions[0]):
        for column, x in enumerate(positions[1]):
            (top, bottom, down), (left, right, across) = source(y, images.shape[1]), source(x, images.shape[2])
            upper = images[:, top, left] * (1 - across) + images[:, top, right] * across
            lower = images[:, bottom, left] * (1 - across) + images[:, bottom, right] * across
            outputs[:, row, column] = upper * (1 - down) + lower * down
    return outputs


def images(height, width):
    return np.random.default_rng(0).normal(size=(2, height, width, 3))


SIZES = [((5, 4), (33, 25)), ((5, 4), (12, 7)), ((7, 6), (3, 4)), ((1, 3), (4, 1)), ((4, 5), (4, 5))]


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize(("old", "new"), SIZES)
def test_it_equals_the_formula(old, new, align_corners):
    x = images(*old)
    expected = expected_resize(x, new, align_corners)
    np.testing.assert_allclose(bilinear_resize(tf.constant(x), new, align_corners=align_corners), expected, atol=1e-13)
    resized = bilinear_resize(tf.constant(x, tf.float32), new, align_corners=align_corners)
    np.testing.assert_allclose(resized, expected, atol=2e-6)


def test_aligned_corners_keep_every_pixel_of_an_integral_scale():
    x = images(9, 7)
    resized = bilinear_resize(tf.constant(x), (65, 49), align_corners=True)
    np.testing.assert_array_equal(resized[:, ::8, ::8], x)


@pytest.mark.parametrize("align_corners", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_sizes_may_be_unknown_during_tracing(align_corners):
    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.float64), tf.TensorSpec((2,), tf.int32)])
    def resize(x, size):
        return bilinear_resize(x, (size[0], size[1]), align_corners=align_corners)

    for old, new in SIZES[:2]:
        expected = expected_resize(images(*old), new, align_corners)
        np.testing.assert_allclose(resize(images(*old), new), expected, atol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("align_corners", [True, False])
def test_xla_computes_the_same(align_corners):
    x = images(9, 7)
    resize = tf.function(lambda x: bilinear_resize(x, (60, 44), align_corners=align_corners), jit_compile=True)
    np.testing.assert_allclose(resize(tf.constant(x)), expected_resize(x, (60, 44), align_corners), atol=1e-13)


def test_half_precision_is_interpolated_in_float32():
    x = tf.cast(images(5, 4), tf.bfloat16)
    resized = bilinear_resize(x, (33, 25), align_corners=True)
    assert resized.dtype == tf.bfloat16
    wide = bilinear_resize(tf.cast(x, tf.float32), (33, 25), align_corners=True)
    np.testing.assert_array_equal(resized, tf.cast(wide, tf.bfloat16))


def test_the_gradient_is_the_transpose():
    x, upstream = tf.constant(images(5, 4)), np.random.default_rng(1).normal(size=(2, 12, 7, 3))
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = bilinear_resize(x, (12, 7), align_corners=False)
    gradient = tape.gradient(outputs, x, tf.constant(upstream))
    other = np.random.default_rng(2).normal(size=x.shape)
    expected = (expected_resize(other, (12, 7), False) * upstream).sum()
    np.testing.assert_allclose((gradient.numpy() * other).sum(), expected, rtol=1e-12)
