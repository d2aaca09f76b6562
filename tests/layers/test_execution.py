import keras
import numpy as np
import pytest
import tensorflow as tf

from hamgan.layers import SNConv2D
from hamgan.layers.execution import convolution_form, execution, target
from hamgan.networks import Generator


def test_the_target_is_the_device_unless_it_is_set(monkeypatch):
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
    return {layer.form for layer in network._flatten_layers() if isinstance(layer, SNConv2D)}


def test_a_network_resolves_the_form_of_its_convolutions_when_it_is_built():
    settings = {"resolution": 32, "num_classes": 3, "base_channels": 2}
    hamburger = {"module": "hamburger", "resolution": 8, "latent_dim": 4, "rank": 2}
    network = Generator(**settings, convolution_form="strided", context=[hamburger])
    assert _forms(network) == {"strided"}
    with execution(convolution_form="plain"):
        assert _forms(Generator(**settings)) == {"plain"}
        assert _forms(Generator.from_config(network.get_config())) == {"strided"}
    assert _forms(Generator(**settings)) == {"auto"}


class BuiltInReplicas(keras.Layer):
    """A layer whose convolution is created by its first call."""

    def build(self, input_shape):
        self.seen = (target(), convolution_form())
        self.conv = SNConv2D(3, 3)
        self.conv.build(input_shape)

    def call(self, inputs):
        return self.conv(inputs)


def test_the_replicas_of_a_strategy_see_what_is_set(two_replicas):
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
