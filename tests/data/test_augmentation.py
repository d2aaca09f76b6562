import numpy as np
import pytest
import tensorflow as tf

from hamgan.data.augmentation import diff_augment, flip_horizontally
from hamgan.random_streams import fold

SIZE = 16
IMAGES = np.random.default_rng(0).uniform(-1, 1, (64, SIZE, SIZE, 3)).astype(np.float32)
KEY = fold(3)


def _shifted(image, down, right):
    """The image moved by whole pixels, with zeros from outside."""
    moved = np.zeros_like(image)
    rows = slice(max(0, down), SIZE + min(0, down))
    columns = slice(max(0, right), SIZE + min(0, right))
    moved[rows, columns] = image[max(0, -down) : SIZE - max(0, down), max(0, -right) : SIZE - max(0, right)]
    return moved


def test_about_half_of_the_images_are_mirrored():
    flipped = flip_horizontally(IMAGES, KEY, first=0).numpy()
    is_mirrored = np.array([np.array_equal(new, old[:, ::-1]) for new, old in zip(flipped, IMAGES, strict=True)])
    is_same = np.array([np.array_equal(new, old) for new, old in zip(flipped, IMAGES, strict=True)])
    assert (is_mirrored ^ is_same).all()
    assert 20 < is_mirrored.sum() < 44


def test_translation_moves_each_image_by_at_most_an_eighth():
    moved = diff_augment(IMAGES, KEY, first=0, translation=True).numpy()
    shifts = []
    for new, old in zip(moved, IMAGES, strict=True):
        found = [
            (down, right)
            for down in range(-4, 5)
            for right in range(-4, 5)
            if np.array_equal(new, _shifted(old, down, right))
        ]
        assert len(found) == 1
        shifts += found
    # Every shift of up to two of sixteen pixels occurs, in both directions, and no other.
    assert {down for down, _ in shifts} == {right for _, right in shifts} == {-2, -1, 0, 1, 2}
    assert len(set(shifts)) > 15


def test_cutout_removes_a_square_of_half_the_size():
    cut = diff_augment(IMAGES, KEY, first=0, cutout=True).numpy()
    corners, sides = set(), set()
    for new, old in zip(cut, IMAGES, strict=True):
        is_cut = (new == 0).all(axis=-1)
        rows, columns = np.flatnonzero(is_cut.any(axis=1)), np.flatnonzero(is_cut.any(axis=0))
        assert is_cut[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert is_cut.sum() == len(rows) * len(columns)
        np.testing.assert_array_equal(new[~is_cut], old[~is_cut])
        # Squares extend beyond the border where their center is near it.
        assert len(rows) == 8 or rows[0] == 0 or rows[-1] == SIZE - 1
        corners.add((rows[0], columns[0]))
        sides.add(len(rows))
    assert len(corners) > 30
    assert max(sides) == 8
    assert min(sides) >= 4


def test_color_is_an_affine_map_of_each_image():
    recolored = diff_augment(IMAGES, KEY, first=0, color=True).numpy().astype(np.float64)
    saturations, contrasts, offsets = [], [], []
    for new, old in zip(recolored, IMAGES.astype(np.float64), strict=True):
        # Distance to the gray value is scaled by saturation * contrast, that of gray to the mean by contrast alone.
        new_gray, gray = new.mean(axis=-1, keepdims=True), old.mean(axis=-1, keepdims=True)
        product = np.vdot(new - new_gray, old - gray) / np.vdot(old - gray, old - gray)
        contrast = np.vdot(new_gray - new.mean(), gray - old.mean()) / np.vdot(gray - old.mean(), gray - old.mean())
        offset = new.mean() - old.mean()
        expected = product * (old - gray) + contrast * (gray - old.mean()) + old.mean() + offset
        np.testing.assert_allclose(new, expected, atol=1e-5)
        saturations.append(product / contrast)
        contrasts.append(contrast)
        offsets.append(offset)
    for values, low, high in ((offsets, -0.5, 0.5), (saturations, 0.0, 2.0), (contrasts, 0.5, 1.5)):
        assert low <= min(values) < low + 0.1 * (high - low)
        assert high >= max(values) > high - 0.1 * (high - low)


EVERYTHING = {"color": True, "translation": True, "cutout": True}


def test_images_depend_on_their_index_in_the_global_batch_only():
    whole = diff_augment(IMAGES, KEY, first=0, **EVERYTHING).numpy()
    part = diff_augment(IMAGES[24:40], KEY, first=tf.constant(24, tf.int64), **EVERYTHING).numpy()
    np.testing.assert_array_equal(part, whole[24:40])
    compiled = tf.function(lambda x: diff_augment(x, KEY, first=0, **EVERYTHING), jit_compile=True)(IMAGES).numpy()
    np.testing.assert_allclose(compiled, whole, atol=1e-6)
    other = diff_augment(IMAGES, fold(4), first=0, **EVERYTHING).numpy()
    assert not np.isclose(other, whole).all(axis=(1, 2, 3)).any()


@pytest.mark.parametrize("kinds", [{"color": True}, {"translation": True}, {"cutout": True}, EVERYTHING])
def test_gradients_are_those_of_a_linear_map(kinds):
    rng = np.random.default_rng(1)
    x, direction, upstream = (tf.constant(rng.normal(size=(6, SIZE, SIZE, 3))) for _ in range(3))

    def augment(images):
        return diff_augment(images, KEY, first=0, **kinds)

    with tf.GradientTape() as outer:
        outer.watch(upstream)
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = tf.reduce_sum(augment(x) * upstream)
        gradient = tape.gradient(value, x)
        along = tf.reduce_sum(gradient * direction)
    # Augmentations are affine in the image, so that differences are exact.
    difference = augment(x + direction) - augment(x)
    assert float(along) == pytest.approx(float(tf.reduce_sum(difference * upstream)), rel=1e-6)
    # The gradient is linear in the upstream gradient, and its derivative is the map itself.
    np.testing.assert_allclose(outer.gradient(along, upstream), difference, atol=1e-6)


def test_dtype_is_kept():
    for dtype in (tf.bfloat16, tf.float32, tf.float64):
        assert diff_augment(tf.cast(IMAGES[:2], dtype), KEY, first=0, **EVERYTHING).dtype == dtype
        assert flip_horizontally(tf.cast(IMAGES[:2], dtype), KEY, first=0).dtype == dtype
