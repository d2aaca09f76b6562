"""Sizes of images that are scaled to a short side."""

import numpy as np
import pytest
import tensorflow as tf

from hamgan.segmentation.data.scaled_sizes import keep_ratio_scale, rounded_size


@pytest.mark.parametrize(
    ("size", "ratio", "expected"),
    [
        ((375, 500), 1.0, (512, 683)),  # 682.67
        ((500, 375), 1.0, (683, 512)),
        ((512, 2048), 1.0, (512, 2048)),
        ((300, 2400), 1.0, (256, 2048)),  # The long side is bounded.
        ((2400, 300), 0.5, (1024, 128)),
        ((375, 500), 0.75, (384, 512)),
        ((375, 500), 1.7314122721354166 * 375 / 512, (649, 865)),  # Short side 649.28, which is rounded down first.
        ((4000, 3), 1.0, (2048, 2)),
    ],
)
def test_sizes(size, ratio, expected):
    found = rounded_size(tf.constant(size), keep_ratio_scale(tf.constant(size), 512, ratio))
    np.testing.assert_array_equal(found, expected)


def test_sizes_are_rounded_and_positive():
    assert rounded_size(tf.constant([5, 7]), 0.5).numpy().tolist() == [3, 4]
    assert rounded_size(tf.constant([9, 1]), 0.2).numpy().tolist() == [2, 1]
