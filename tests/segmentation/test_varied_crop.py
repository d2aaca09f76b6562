"""Crops in which no class has almost all pixels."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from hamgan import random_streams
from hamgan.segmentation.data.augmentation import Augmentation, draw_augmentation
from hamgan.segmentation.data.varied_crop import is_varied, with_varied_crop

CROP = 24


def varied(mask, share):
    """The rule of mmsegmentation, in NumPy."""
    values, counts = np.unique(mask, return_counts=True)
    counts = counts[values != 255]
    return len(counts) > 1 and counts.max() / counts.sum() < share


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        ([0, 0, 0, 1], False),  # exactly 75 %
        ([0, 0, 0, 0, 0, 1, 1], True),  # 71 %
        ([0, 0, 0, 1, 255, 255], False),  # ignored pixels do not count
        ([0, 0, 1, 255, 255, 255, 255, 255, 255], True),
        ([7, 7, 7, 7], False),
        ([3, 255, 255], False),  # a single class, beside ignored pixels
        ([255, 255], False),
        ([4, 200, 17, 254], True),
    ],
)
def test_rule(pixels, expected):
    mask = np.array([pixels], np.uint8)
    assert bool(is_varied(tf.constant(mask), 0.75)) == varied(mask, 0.75) == expected


def test_rule_on_drawn_masks():
    rng = np.random.default_rng(0)
    results = []
    for _ in range(60):
        counts = rng.integers(0, 40, 4) * rng.integers(0, 2, 4)
        mask = np.repeat([0, 5, 149, 255], counts).astype(np.uint8)[np.newaxis]
        results.append(bool(is_varied(tf.constant(mask), 0.6)))
        assert results[-1] == varied(mask, 0.6), counts
    assert 10 < sum(results) < 50


def drawn_mask(seed, height=70, width=61):
    """Areas of one class, with a few patches of others and of ignored pixels."""
    rng = np.random.default_rng(seed)
    mask = np.full((height, width), 3, np.uint8)
    for value in (1, 2, 255, 1):
        top, left = rng.integers(0, height - 20), rng.integers(0, width - 20)
        mask[top : top + rng.integers(4, 20), left : left + rng.integers(4, 20)] = value
    return mask


def candidates(first, size, index):
    """The corners of the eleven crops, in NumPy."""
    key = random_streams.fold(5, random_streams.Purpose.SEGMENTATION_CROPS, 2)
    numbers = random_streams.draw("uniform", key, first=index, count=1, shape=(10, 2))[0].numpy().astype(np.float64)
    room = np.maximum(np.array(size) - CROP, 0)
    return [first, *map(tuple, np.floor((room + 1) * numbers).astype(int))]


@functools.cache
def compiled(share):
    """The function as data pipelines trace it: in a graph, without AutoGraph."""
    signature = [
        Augmentation(
            tf.TensorSpec((), tf.float64),
            tf.TensorSpec((), tf.int32),
            tf.TensorSpec((), tf.int32),
            tf.TensorSpec((), tf.bool),
        ),
        tf.TensorSpec((None, None), tf.uint8),
        tf.TensorSpec((), tf.int32),
    ]

    @functools.partial(tf.function, autograph=False, input_signature=signature)
    def choose(augmentation, mask, index):
        return with_varied_crop(augmentation, mask, CROP, max_class_share=share, seed=5, step=2, index=index)

    return choose


def chosen(mask, index, share=0.75):
    draws = draw_augmentation(tf.constant(mask.shape), CROP, seed=5, step=2, index=index, ratios=(1.0,))
    result = compiled(share)(draws, tf.constant(mask), tf.constant(index))
    np.testing.assert_array_equal([result.ratio, result.flip], [draws.ratio, draws.flip])
    return (int(draws.top), int(draws.left)), (int(result.top), int(result.left))


def test_the_first_varied_crop_is_taken():
    attempts = []
    for index in range(40):
        mask = drawn_mask(index)
        first, found = chosen(mask, index)
        corners = candidates(first, mask.shape, index)
        accepted = [varied(mask[top : top + CROP, left : left + CROP], 0.75) for top, left in corners[:10]]
        attempts.append(accepted.index(True) if any(accepted) else 10)
        assert found == corners[attempts[-1]], index
    assert {0, 1, 2, 10} <= set(attempts)


def test_without_a_varied_crop_the_eleventh_is_taken():
    for mask in (np.full((70, 61), 4, np.uint8), np.full((70, 61), 255, np.uint8)):
        first, found = chosen(mask, 3)
        corners = candidates(first, mask.shape, 3)
        assert found == corners[10]
        assert len(set(corners)) > 5


def test_an_image_smaller_than_the_crop_has_one_crop():
    mask = np.zeros((10, 40), np.uint8)
    mask[:, 30:] = 1
    first, found = chosen(mask, 0)
    assert first[0] == found[0] == 0
    assert varied(mask[:, found[1] : found[1] + CROP], 0.75)
