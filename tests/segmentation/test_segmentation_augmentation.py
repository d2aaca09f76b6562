import numpy as np
import pytest
import tensorflow as tf
from golden_seg import load_golden, relative_error

from hamgan.segmentation.data.augmentation import (
    TRAINING_RATIOS,
    Augmentation,
    augment,
    draw_augmentation,
    normalise,
    resize_nearest,
)
from hamgan.segmentation.prediction.multi_scale import pad_to_stride

GOLDEN = load_golden("preprocess")
CROP = int(GOLDEN["crop"])


@pytest.mark.parametrize("case", range(int(GOLDEN["cases"])))
@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_published_training_images(case, mode):
    function = tf.function(augment, reduce_retracing=True) if mode == "graph" else augment
    top, left = GOLDEN[f"top_left{case}"].astype(np.int32)
    draws = Augmentation(
        tf.constant(GOLDEN[f"ratio{case}"]), tf.constant(top), tf.constant(left), tf.constant(GOLDEN[f"flip{case}"])
    )
    arrays = tf.constant(GOLDEN[f"image{case}"]), tf.constant(GOLDEN[f"label{case}"])
    image, mask = function(*arrays, draws, CROP)
    assert relative_error(image, GOLDEN[f"train_image{case}"]) < 1e-5
    np.testing.assert_array_equal(mask, GOLDEN[f"train_label{case}"])


@pytest.mark.parametrize("case", [0, 1])
def test_published_evaluation_images(case):
    stride = int(GOLDEN["stride"])
    image = pad_to_stride(normalise(GOLDEN[f"image{case}"])[tf.newaxis], stride)[0]
    mask = pad_to_stride(tf.constant(GOLDEN[f"label{case}"])[tf.newaxis, ..., tf.newaxis], stride, value=255)
    assert relative_error(image, GOLDEN[f"val_image{case}"]) < 1e-5
    np.testing.assert_array_equal(mask[0, ..., 0], GOLDEN[f"val_label{case}"])


@pytest.mark.parametrize("size", [(5, 11), (37, 40), (13, 513), (60, 1)])
def test_masks_take_the_pixel_before(size):
    mask = np.random.default_rng(0).integers(0, 256, (29, 23)).astype(np.uint8)
    rows, columns = (
        np.floor(np.arange(out, dtype=np.float32) * (np.float32(length) / np.float32(out))).astype(int)
        for out, length in zip(size, mask.shape, strict=True)
    )
    found = resize_nearest(tf.constant(mask), tf.constant(size))
    np.testing.assert_array_equal(found, mask[rows][:, columns])


def test_masks_can_be_scaled_as_by_opencv():
    """``cv2.resize`` of OpenCV 5.0.0 with INTER_NEAREST, where the ratio's rounding matters."""
    row = tf.constant([range(6)], tf.uint8)
    found = resize_nearest(row, tf.constant([1, 34]), dtype=tf.float64)[0].numpy()
    np.testing.assert_array_equal(found, np.repeat(range(6), [6, 6, 6, 5, 6, 5]))


def test_scaling_without_aligned_corners():
    rng = np.random.default_rng(4)
    image, mask = rng.integers(0, 256, (10, 13, 3), np.uint8), rng.integers(0, 5, (10, 13), np.uint8)
    draws = Augmentation(tf.constant(1.75, tf.float64), tf.constant(0), tf.constant(3), tf.constant(True))
    found_image, found_mask = augment(tf.constant(image), tf.constant(mask), draws, 20, align_corners=False)
    # 17.5 x 22.75, rounded to 18 x 23.
    scaled = tf.round(tf.image.resize(image, (18, 23)))
    expected = np.zeros((20, 20, 3), np.float32)
    expected[:18] = normalise(scaled[:, 3:])
    np.testing.assert_allclose(found_image, expected[:, ::-1], atol=1e-6)
    rows, columns = np.arange(18) * 10 // 18, np.arange(23) * 13 // 23
    np.testing.assert_array_equal(found_mask[:18], mask[rows][:, columns][:, 3:][:, ::-1])
    assert (found_mask[18:].numpy() == 255).all()


def test_colors_change_before_scaling_with_aligned_corners_and_after_it_without():
    image = np.random.default_rng(4).integers(0, 256, (12, 12, 3), np.uint8)
    mask = tf.zeros((12, 12), tf.uint8)
    draws = Augmentation(tf.constant(1.5, tf.float64), tf.constant(2), tf.constant(3), tf.constant(False))
    shapes = []

    def invert(pixels):
        shapes.append(tuple(pixels.shape))
        assert pixels.dtype == tf.uint8
        return 255 - pixels

    for align_corners in (True, False):
        found, _ = augment(tf.constant(image), mask, draws, 10, align_corners=align_corners, distort=invert)
        expected, _ = augment(tf.constant(255 - image), mask, draws, 10, align_corners=align_corners)
        # Rounding half to even differs between a pixel and its inverse.
        np.testing.assert_allclose(found, expected, atol=0.018)
    assert shapes == [(12, 12, 3), (10, 10, 3)]


DRAWS = {
    None: [
        (2.0, 205, 16, False),
        (1.25, 0, 44, True),
        (1.75, 45, 238, False),
    ],
    512: [
        (2.6909420572916667, 429, 27, False),
        (1.7314122721354166, 42, 139, True),
        (2.244993570963542, 104, 399, False),
    ],
}
"""Draws of commit e0447f4, by short side."""


@pytest.mark.parametrize("short_side", DRAWS)
def test_draws_are_those_of_earlier_versions(short_side):
    settings = {} if short_side is None else {"ratios": (0.5, 2.0), "any_ratio": True, "short_side": short_side}
    size = tf.constant([375, 500])
    for index, expected in enumerate(DRAWS[short_side]):
        draws = draw_augmentation(size, 512, seed=66, step=7, index=index, **settings)
        assert tuple(each.numpy() for each in draws) == expected


def test_ratios_of_a_short_side_without_aligned_corners():
    settings = {"ratios": (0.5, 2.0), "any_ratio": True, "short_side": 512}
    for index, (earlier, _, _, flip) in enumerate(DRAWS[512]):
        draws = draw_augmentation(
            tf.constant([375, 500]), 512, seed=66, step=7, index=index, align_corners=False, **settings
        )
        side = int(earlier * 375)  # The short side is rounded down, as mmcv does.
        assert draws.ratio.numpy() == side / 375
        assert bool(draws.flip) == flip
        assert 0 <= int(draws.top) <= side - 512
        assert 0 <= int(draws.left) <= int(side / 375 * 500 + 0.5) - 512


def _draws(height=47, width=29, *, crop=33, seed=3, step=0, count=150):
    @tf.function
    def draw_all():
        types = Augmentation(tf.float64, tf.int32, tf.int32, tf.bool)
        size = tf.constant([height, width])
        return tf.map_fn(
            lambda index: draw_augmentation(size, crop, seed=seed, step=step, index=index),
            tf.range(count),
            fn_output_signature=types,
        )

    return [Augmentation(*each) for each in zip(*(part.numpy().tolist() for part in draw_all()), strict=True)]


def test_draws_are_uniform_over_all_valid_crops():
    draws = _draws()
    ratios = np.array([each.ratio for each in draws])
    assert set(ratios) == set(TRAINING_RATIOS)
    assert np.abs(np.array([(ratios == ratio).mean() for ratio in TRAINING_RATIOS]) - 1 / 7).max() < 0.09
    assert 0.38 < np.mean([each.flip for each in draws]) < 0.62
    for each in draws:
        height, width = int(47 * each.ratio), int(29 * each.ratio)
        assert 0 <= each.top <= max(height - 33, 0)
        assert 0 <= each.left <= max(width - 33, 0)
    tops = [each.top for each in draws if each.ratio == 0.75]
    assert set(tops) == {0, 1, 2}  # 35 rows


def test_draws_depend_on_seed_step_and_index_alone():
    def draw(*, seed=3, step=0, index=5):
        size = tf.constant([301, 299])
        draws = draw_augmentation(size, 33, seed=seed, step=tf.constant(step), index=tf.constant(index))
        return [each.numpy() for each in draws]

    first = draw()
    assert draw() == first
    for other in ({"seed": 4}, {"step": 1}, {"index": 6}):
        assert draw(**other) != first
