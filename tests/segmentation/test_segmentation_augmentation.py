import numpy as np
import pytest
import tensorflow as tf
from golden_seg import load_golden, relative_error

from hamgan.segmentation.augmentation import (
    TRAINING_RATIOS,
    Augmentation,
    augment,
    draw_augmentation,
    normalise,
    resize_nearest,
)
from hamgan.segmentation.multi_scale import pad_to_stride

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
