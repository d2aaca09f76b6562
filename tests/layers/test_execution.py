import keras
import numpy as np
import pytest
import tensorflow as tf

from hamgan.layers import SNConv2D
from hamgan.layers.execution import convolution_form, execution, target
from hamgan.layers.spectral_normalization import spectrally_normalized_layers
from hamgan.networks import Generator


def test_target_defaults_to_the_available_device(monkeypatch):
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind=None: [])
    assert target() == "cpu"
    with execution(target="tpu"):
        assert target() == "tpu"
    assert target() == "cpu"
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind=None: ["a GPU"])
    assert target() == "gpu"


def test_settings_nest_and_are_restored_after_an_error():
    def fail():
        with execution(convolution_form="plain"), execution(target="tpu"):
            assert (target(), convolution_form()) == ("tpu", "plain")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert (target(), convolution_form()) == ("cpu", "auto")
    with (
        pytest.raises(ValueError, match=r"convolution_form must be one of .*, received 'plane'"),
        execution(convolution_form="plane"),
    ):
        pass


def _forms(network):
    return {layer.form for layer in spectrally_normalized_layers(network) if isinstance(layer, SNConv2D)}


def test_networks_choose_the_convolution_form_in_their_constructor():
    settings = {"resolution": 32, "num_classes": 3, "base_channels": 2}
    hamburger = {"module": "hamburger", "resolution": 8, "latent_dim": 4, "rank": 2}
    network = Generator(**settings, convolution_form="strided", context=[hamburger])
    assert _forms(network) == {"strided"}
    with execution(convolution_form="plain"):
        assert _forms(Generator(**settings)) == {"plain"}
        assert _forms(Generator.from_config(network.get_config())) == {"strided"}
    assert _forms(Generator(**settings)) == {"auto"}


class BuiltInReplicas(keras.Layer):
    """A layer that creates its convolution in the first call."""

    def build(self, input_shape):
        self.seen = (target(), convolution_form())
        self.conv = SNConv2D(3, 3)
        self.conv.build(input_shape)

    def call(self, inputs):
        return self.conv(inputs)


def test_replicas_see_the_settings(two_replicas):
    with two_replicas.scope():
        layer = BuiltInReplicas()

    @tf.function
    def step():
        return two_replicas.run(lambda: layer(tf.ones((1, 4, 4, 2))))

    with execution(target="tpu", convolution_form="plain"):
        outputs = two_replicas.experimental_local_results(step())
    assert layer.seen == ("tpu", "plain")
    assert layer.conv.form == "plain"
    assert len(outputs) == 2
    np.testing.assert_array_equal(*outputs)
