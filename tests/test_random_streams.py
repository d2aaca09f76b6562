import math

import numpy as np
import pytest
import tensorflow as tf

from hamgan import random_streams

KEY = random_streams.fold(3, 1, 2)


@pytest.mark.parametrize("distribution", ["normal", "uniform"])
@pytest.mark.parametrize("shape", [(4,), (3, 5), (1,)])
def test_a_share_of_the_batch_is_a_slice_of_the_whole(distribution, shape):
    whole = random_streams.draw(distribution, KEY, first=0, count=8, shape=shape)
    for first in (0, 3, 4):
        share = random_streams.draw(distribution, KEY, first=tf.constant(first), count=4, shape=shape)
        np.testing.assert_allclose(share, whole[first : first + 4], rtol=0 if distribution == "uniform" else 1e-6)


def test_labels_of_a_share_are_a_slice_of_the_whole():
    whole = random_streams.draw_labels(KEY, first=0, count=64, num_classes=10)
    share = random_streams.draw_labels(KEY, first=tf.constant(17), count=20, num_classes=10)
    np.testing.assert_array_equal(share, whole[17:37])
    assert set(whole.numpy()) == set(range(10))


COUNTS = [3, 0, 500, 1, 0]


def test_labels_by_class_counts_are_those_of_uniform_images():
    images = random_streams.draw_labels(KEY, first=0, count=2000, num_classes=sum(COUNTS))
    expected = np.repeat(np.arange(len(COUNTS)), COUNTS)[images.numpy()]
    labels = random_streams.draw_labels(KEY, first=0, count=2000, num_classes=5, class_counts=COUNTS)
    assert labels.dtype == tf.int32
    np.testing.assert_array_equal(labels, expected)
    assert set(expected) == {0, 2, 3}
    share = random_streams.draw_labels(KEY, first=tf.constant(17), count=20, num_classes=5, class_counts=COUNTS)
    np.testing.assert_array_equal(share, expected[17:37])

    @tf.function(jit_compile=True)
    def compiled():
        return random_streams.draw_labels(KEY, first=0, count=2000, num_classes=5, class_counts=COUNTS)

    np.testing.assert_array_equal(compiled(), expected)


def test_equal_class_counts_are_uniform_labels_for_one_image_each():
    uniform = random_streams.draw_labels(KEY, first=0, count=64, num_classes=10)
    labels = random_streams.draw_labels(KEY, first=0, count=64, num_classes=10, class_counts=[1] * 10)
    np.testing.assert_array_equal(labels, uniform)


@pytest.mark.parametrize("counts", [[], [1], [0, 0, 0], [1, -1, 3], [2**30, 2**30, 0]])
def test_wrong_class_counts_are_rejected(counts):
    with pytest.raises(ValueError, match=r"must be 3 non-negative integers with a sum in \[1, 2\^31\)"):
        random_streams.draw_labels(KEY, first=0, count=2, num_classes=3, class_counts=counts)


def test_numbers_do_not_depend_on_xla():
    for distribution, tolerance in (("uniform", 0.0), ("normal", 5e-5)):
        for seed in range(5):

            def draw(distribution=distribution, seed=seed):
                key = random_streams.fold(seed, 6, 7)
                return random_streams.draw(distribution, key, first=3, count=50, shape=(7,))

            np.testing.assert_allclose(tf.function(draw, jit_compile=True)(), draw(), rtol=0, atol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [-1, -(2**31), 2**31, 2**70 + 3])
def test_seeds_outside_int32_and_negative_keys_do_not_depend_on_xla(seed):
    for key in (
        lambda: random_streams.fold(seed),
        lambda: random_streams.fold(seed, -3),
        lambda: tf.constant([-7, -1]),
    ):

        def draw(key=key):
            return random_streams.draw("uniform", key(), first=0, count=4, shape=(4,)), random_streams.draw_labels(
                random_streams.fold(key(), 2), first=0, count=4, num_classes=10
            )

        for ours, theirs in zip(tf.function(draw, jit_compile=True)(), draw(), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_distributions_have_their_moments():
    uniform = random_streams.draw("uniform", KEY, first=0, count=20_000, shape=(5,)).numpy()
    assert uniform.min() >= 0
    assert uniform.max() < 1
    np.testing.assert_allclose([uniform.mean(), uniform.var()], [1 / 2, 1 / 12], atol=3e-3)
    normal = random_streams.draw("normal", KEY, first=0, count=20_000, shape=(5,)).numpy()
    np.testing.assert_allclose([normal.mean(), normal.var(), (normal**4).mean()], [0, 1, 3], atol=0.06)
    assert abs(np.corrcoef(normal.T) - np.eye(5)).max() < 0.03


def test_numbers_are_stable_across_versions():
    """Golden numbers of the first version, so that runs resume and samples stay the same."""
    normal = random_streams.draw("normal", KEY, first=0, count=2, shape=(3,))
    uniform = random_streams.draw("uniform", KEY, first=0, count=2, shape=(3,))
    expected = [[1.71233928, 0.0135374051, 1.19522262], [-1.49642968, -1.77676189, -0.656107664]]
    np.testing.assert_allclose(normal, expected, rtol=2e-6)
    expected = [[0.9565829039, 0.5054004192, 0.8839999437], [0.0672707558, 0.0378036499, 0.2558773756]]
    np.testing.assert_allclose(uniform, expected, rtol=1e-9)


def _normal_cdf(x):
    return (1 + np.vectorize(math.erf)(np.asarray(x, np.float64) / math.sqrt(2))) / 2


@pytest.mark.parametrize("bound", [0.04, 0.5, 1.0, 2.0, 4.0])
def test_truncated_numbers_follow_the_truncated_normal_distribution(bound):
    count = 20_000
    z = random_streams.draw("normal", KEY, first=0, count=count // 5, shape=(5,), truncation=bound).numpy().ravel()
    assert abs(z).max() <= bound
    inside = _normal_cdf(bound) - _normal_cdf(-bound)
    density = math.exp(-(bound**2) / 2) / math.sqrt(2 * math.pi)
    variance = 1 - 2 * bound * density / inside
    np.testing.assert_allclose([z.mean() / bound, z.var() / variance], [0, 1], atol=0.03)
    # Kolmogorov's distance; 1.63 / sqrt(n) is exceeded once in a hundred times.
    distances = (_normal_cdf(np.sort(z)) - _normal_cdf(-bound)) / inside - (np.arange(count) + 0.5) / count
    assert abs(distances).max() < 1.63 / math.sqrt(count)


def test_truncation_maps_each_number_in_place():
    plain = random_streams.draw("normal", KEY, first=0, count=50, shape=(5,)).numpy()
    truncated = random_streams.draw("normal", KEY, first=0, count=50, shape=(5,), truncation=0.8).numpy()
    expected = (2 * _normal_cdf(plain) - 1) * (2 * _normal_cdf(0.8) - 1)
    np.testing.assert_allclose(2 * _normal_cdf(truncated) - 1, expected, atol=1e-6)
    share = random_streams.draw("normal", KEY, first=tf.constant(17), count=20, shape=(5,), truncation=0.8)
    np.testing.assert_allclose(share, truncated[17:37], rtol=1e-6)
    wide = random_streams.draw("normal", KEY, first=0, count=50, shape=(5,), truncation=math.inf)
    np.testing.assert_allclose(wide, plain, rtol=1e-6)


def test_truncation_is_checked():
    for truncation in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match=f"truncation must be positive, received {truncation}"):
            random_streams.draw("normal", KEY, first=0, count=1, shape=(4,), truncation=truncation)
    with pytest.raises(ValueError, match=r"truncation goes with 'normal', received 1\.0 with 'uniform'"):
        random_streams.draw("uniform", KEY, first=0, count=1, shape=(4,), truncation=1.0)


def test_every_part_of_the_key_matters():
    keys = [random_streams.fold(*parts) for parts in ((0,), (1,), (0, 0), (0, 1), (0, 1, 0), (0, 0, 1))]
    draws = {tuple(random_streams.draw("uniform", key, first=0, count=1, shape=(4,)).numpy()[0]) for key in keys}
    assert len(draws) == len(keys)


def test_purposes_are_distinct():
    values = [int(purpose) for purpose in random_streams.Purpose]
    # In order and never renumbered, or the same seed would mean other numbers.
    assert values == list(range(len(values)))
    assert random_streams.Purpose.ROLLBACK == 8


def test_unknown_distribution_is_rejected():
    with pytest.raises(ValueError, match="'normal' or 'uniform', received 'gamma'"):
        random_streams.draw("gamma", KEY, first=0, count=1, shape=(4,))


@pytest.mark.parametrize("truncation", [None, 0.7, 4.0])
def test_a_truncation_may_be_a_tensor(truncation):
    bound = tf.constant(np.inf if truncation is None else truncation, tf.float32)
    drawn = random_streams.draw("normal", KEY, first=1, count=5, shape=(7,), truncation=bound)
    expected = random_streams.draw("normal", KEY, first=1, count=5, shape=(7,), truncation=truncation)
    np.testing.assert_allclose(drawn, expected, rtol=1e-6)
