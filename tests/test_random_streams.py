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


def test_numbers_do_not_depend_on_xla():
    for distribution, tolerance in (("uniform", 0.0), ("normal", 5e-5)):
        for seed in range(5):

            def draw(distribution=distribution, seed=seed):
                key = random_streams.fold(seed, 6, 7)
                return random_streams.draw(distribution, key, first=3, count=50, shape=(7,))

            np.testing.assert_allclose(tf.function(draw, jit_compile=True)(), draw(), rtol=0, atol=tolerance)


def test_distributions_have_their_moments():
    uniform = random_streams.draw("uniform", KEY, first=0, count=20_000, shape=(5,)).numpy()
    assert uniform.min() >= 0
    assert uniform.max() < 1
    np.testing.assert_allclose([uniform.mean(), uniform.var()], [1 / 2, 1 / 12], atol=3e-3)
    normal = random_streams.draw("normal", KEY, first=0, count=20_000, shape=(5,)).numpy()
    np.testing.assert_allclose([normal.mean(), normal.var(), (normal**4).mean()], [0, 1, 3], atol=0.06)
    assert abs(np.corrcoef(normal.T) - np.eye(5)).max() < 0.03


def test_every_part_of_the_key_matters():
    keys = [random_streams.fold(*parts) for parts in ((0,), (1,), (0, 0), (0, 1), (0, 1, 0), (0, 0, 1))]
    draws = {tuple(random_streams.draw("uniform", key, first=0, count=1, shape=(4,)).numpy()[0]) for key in keys}
    assert len(draws) == len(keys)


def test_purposes_are_distinct():
    values = [int(purpose) for purpose in random_streams.Purpose]
    assert len(set(values)) == len(values)


def test_unknown_distribution_is_refused():
    with pytest.raises(ValueError, match="'normal' or 'uniform', received 'gamma'"):
        random_streams.draw("gamma", KEY, first=0, count=1, shape=(4,))
