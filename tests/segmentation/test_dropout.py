import numpy as np
import pytest
import tensorflow as tf

from hamgan import random_streams
from hamgan.segmentation.networks.dropout import Noise, SpatialDropout, StochasticDepth


def ones(batch=64, channels=32):
    return np.ones((batch, 3, 2, channels), np.float32)


def noise(seed=0, first=0):
    return Noise(random_streams.fold(seed), first)


def test_spatial_dropout_drops_whole_channels_of_each_image():
    outputs = SpatialDropout(0.25)(ones(), training=True, noise=noise()).numpy()
    assert (outputs == outputs[:, :1, :1]).all()
    mask = outputs[:, 0, 0]
    assert set(np.unique(mask)) == {0, np.float32(1 / 0.75)}
    assert (mask == 0).mean() == pytest.approx(0.25, abs=0.03)
    assert len(np.unique(mask, axis=0)) == len(mask)


def test_stochastic_depth_drops_whole_images():
    outputs = StochasticDepth(0.25)(ones(batch=2000, channels=2), training=True, noise=noise()).numpy()
    assert (outputs == outputs[:, :1, :1, :1]).all()
    assert (outputs[:, 0, 0, 0] == 0).mean() == pytest.approx(0.25, abs=0.03)
    assert outputs.max() == np.float32(1 / 0.75)


@pytest.mark.parametrize("layer", [SpatialDropout, StochasticDepth])
def test_nothing_is_dropped_outside_training(layer):
    for arguments in ({}, {"training": False}, {"training": None}):
        np.testing.assert_array_equal(layer(0.5)(ones(), **arguments), ones())
    np.testing.assert_array_equal(layer(0.0)(ones(), training=True), ones())


@pytest.mark.parametrize("layer", [SpatialDropout, StochasticDepth])
def test_noise_determines_what_is_dropped(layer):
    def dropped(name, **arguments):
        return layer(0.5, name=name)(ones(batch=8), training=True, noise=noise(**arguments)).numpy()

    np.testing.assert_array_equal(dropped("drop"), dropped("drop"))
    assert (dropped("drop") != dropped("other")).any()
    assert (dropped("drop") != dropped("drop", seed=1)).any()
    # Image i of the global batch keeps its numbers on any replica.
    np.testing.assert_array_equal(dropped("drop")[3:], dropped("drop", first=3)[:5])


@pytest.mark.slow
def test_without_noise_calls_and_replicas_differ(two_replicas):
    layer = SpatialDropout
    first, second = layer(0.5, seed=4, name="drop"), layer(0.5, seed=4, name="drop")
    call = first(ones(), training=True).numpy()
    np.testing.assert_array_equal(call, second(ones(), training=True))
    assert (call != first(ones(), training=True).numpy()).any()
    with two_replicas.scope():
        third = layer(0.5, seed=4, name="drop")
    one, other = two_replicas.experimental_local_results(two_replicas.run(lambda: third(ones(), training=True)))
    assert (one.numpy() != other.numpy()).any()


def test_dropped_values_have_no_gradient():
    x = tf.constant(ones())
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = SpatialDropout(0.5)(x, training=True, noise=noise())
    np.testing.assert_array_equal(tape.gradient(outputs, x), outputs)


def test_rates_are_checked_and_configs_round_trip():
    with pytest.raises(ValueError, match=r"rate must be in \[0, 1\), received 1.0"):
        StochasticDepth(1.0)
    layer = SpatialDropout(0.3, seed=5, name="drop")
    assert SpatialDropout.from_config(layer.get_config()).get_config() == layer.get_config()
