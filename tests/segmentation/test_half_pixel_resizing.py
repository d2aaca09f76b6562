"""Bilinear resizing with half-pixel centers."""

import numpy as np
import pytest
import tensorflow as tf

from hamgan.segmentation.data.resizing import resize_half_pixel, resized_rows


def test_a_row_by_hand():
    row = tf.constant([0.0, 4.0, 8.0, 100.0], shape=(1, 1, 4, 1))
    doubled = resize_half_pixel(row, (1, 8))
    # At -0.25, 0.25, 0.75, ...; the ends are repeated.
    np.testing.assert_allclose(np.ravel(doubled), [0, 1, 3, 5, 7, 31, 77, 100])
    halved = resize_half_pixel(row, (1, 2))
    np.testing.assert_allclose(np.ravel(halved), [2, 54])
    # No antialiasing: the pixel at 1.5 is the mean of its two neighbours alone.
    np.testing.assert_allclose(np.ravel(resize_half_pixel(row, (1, 1))), [6])


@pytest.mark.parametrize("size", [(7, 5), (20, 1), (3, 31), (11, 13)])
def test_it_is_that_of_tensorflow(size):
    images = tf.random.stateless_normal((2, 11, 13, 4), (0, 1))
    expected = tf.image.resize(images, size)
    np.testing.assert_array_equal(resize_half_pixel(images, size), expected)
    rows = [resized_rows(images, size, first, min(first + 3, size[0])) for first in range(0, size[0], 3)]
    np.testing.assert_allclose(np.concatenate(rows, axis=1), expected, atol=2e-6)
    assert resize_half_pixel(tf.zeros((1, 3, 3, 1), tf.bfloat16), size).dtype == tf.bfloat16
