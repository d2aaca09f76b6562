import numpy as np
import tensorflow as tf

from hamgan.segmentation.data.augmentation import draw_augmentation
from hamgan.segmentation.data.color_distortion import distort_colors

IMAGE = np.random.default_rng(0).integers(60, 190, (5, 4, 3)).astype(np.uint8)


def _distorted(image, count=80):
    indices = tf.data.Dataset.range(count)
    images = indices.map(lambda index: distort_colors(tf.constant(image), seed=1, step=2, index=index))
    return np.stack(list(images.as_numpy_iterator()))


def test_colors_depend_on_the_place_alone_and_differ_between_images():
    images = _distorted(IMAGE)
    np.testing.assert_array_equal(images, _distorted(IMAGE))
    assert images.dtype == np.uint8
    unchanged = (np.abs(images.astype(int) - IMAGE).max(axis=(1, 2, 3)) <= 1).mean()
    assert 0.01 < unchanged < 0.2  # 1/16 expected


def test_gray_images_change_in_brightness_and_contrast_alone():
    gray = np.full((2, 2, 3), 100, np.uint8)
    images = _distorted(gray, 200).astype(float)
    np.testing.assert_array_equal(images, images[..., :1].repeat(3, axis=-1))
    assert images.min() >= (100 - 32) * 0.5 - 1
    assert images.max() <= (100 + 32) * 1.5 + 1
    # Brightness alone, contrast alone, both, neither: a quarter each.
    assert 0.15 < (images[:, 0, 0, 0] == 100).mean() < 0.35
    assert images.std() > 15


def test_hue_and_saturation_keep_the_brightest_channel():
    changes = [image for image in _distorted(IMAGE, 200) if (image.max(-1) == IMAGE.max(-1)).all()]
    moved = [image for image in changes if (image != IMAGE).any()]
    assert len(changes) > 20
    assert len(moved) > 10


def test_images_are_scaled_by_their_short_side():
    def ratios(size):
        draws = [
            draw_augmentation(
                tf.constant(size), 32, seed=0, step=0, index=index, ratios=(0.5, 2.0), any_ratio=True, short_side=64
            )
            for index in range(50)
        ]
        return np.array([float(each.ratio) for each in draws])

    drawn = ratios((128, 200))
    assert 0.25 <= drawn.min() < 0.35
    assert 0.85 < drawn.max() < 1.0
    assert len(set(drawn)) == 50
    np.testing.assert_allclose(ratios((100, 1000)), drawn * 2 * 0.256, rtol=1e-6)
