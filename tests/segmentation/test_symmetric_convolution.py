import float64_convolution
import numpy as np
import pytest
import tensorflow as tf

from hamgan.layers.execution import execution
from hamgan.segmentation.networks.convolution import Convolution, DepthwiseConvolution


def images(height, width, channels=3):
    return np.random.default_rng(0).normal(size=(2, height, width, channels)).astype(np.float32)


@pytest.mark.parametrize("size", [(9, 9), (8, 7), (1, 5)])
@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(3, 1, 1), (3, 2, 1), (1, 2, 1), (3, 1, 2), (3, 1, 4)])
def test_convolutions_pad_symmetrically(size, kernel, stride, dilation):
    layer = Convolution(4, kernel, stride=stride, dilation=dilation, dtype="float64")
    x = images(*size)
    outputs = layer(x)
    expected = float64_convolution.convolution(x, layer.kernel.numpy(), stride, dilation)
    np.testing.assert_allclose(outputs, expected, rtol=1e-12, atol=1e-12)
    assert layer.compute_output_shape(x.shape) == expected.shape
    assert layer.compute_output_shape((None, None, None, 3)) == (None, None, None, 4)


def test_both_forms_of_a_dilated_convolution_agree():
    """CPUs use the form that has a gradient; other devices and exported functions the operation."""
    layer = Convolution(4, 3, dilation=3, dtype="float64")
    by_phases = layer(images(8, 7))
    with execution(target="gpu"):
        np.testing.assert_allclose(layer(images(8, 7)), by_phases, rtol=1e-12)
    with execution(differentiable=False):
        np.testing.assert_allclose(layer(images(8, 7)), by_phases, rtol=1e-12)


def test_dilated_convolutions_have_a_gradient():
    layer, x = Convolution(4, 3, dilation=2, dtype="float64"), tf.constant(images(5, 6), tf.float64)
    layer.build(x.shape)
    direction = np.random.default_rng(1).normal(size=layer.kernel.shape)
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = layer(x)
        loss = tf.reduce_sum(outputs**2)
    to_inputs, to_kernel = tape.gradient(loss, [x, layer.kernel.value])
    change = float64_convolution.convolution(x, direction, 1, 2)
    np.testing.assert_allclose((to_kernel.numpy() * direction).sum(), 2 * (outputs * change).numpy().sum())
    np.testing.assert_allclose((to_inputs * x).numpy().sum(), 2 * (outputs**2).numpy().sum())


@pytest.mark.parametrize("kernel", [3, (1, 7), (7, 1)])
def test_depthwise_convolutions_filter_each_channel(kernel):
    layer, x = DepthwiseConvolution(kernel, dtype="float64"), images(6, 5)
    layer.build(x.shape)
    layer.bias.assign([1.0, 2.0, 3.0])
    outputs = layer(x)
    for channel in range(3):
        one = float64_convolution.convolution(
            x[..., channel : channel + 1], layer.kernel.numpy()[..., channel, None, :]
        )
        np.testing.assert_allclose(outputs[..., channel], one[..., 0] + channel + 1, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("start_values", "deviation"), [("fan_out_normal", (2 / 900) ** 0.5), ("small_normal", 0.01)])
def test_normal_start_values(start_values, deviation):
    layer = Convolution(100, 3, start_values=start_values)
    layer.build((None, None, None, 20))
    kernel = layer.kernel.numpy()
    assert np.std(kernel) == pytest.approx(deviation, rel=0.03)
    assert np.abs(kernel).max() > 3 * deviation
    assert not layer.bias.numpy().any()


def test_uniform_start_values():
    layer = Convolution(200, 3, start_values="fan_in_uniform")
    layer.build((None, None, None, 10))
    for weight in (layer.kernel.numpy(), layer.bias.numpy()):
        assert 0.95 / 90**0.5 < np.abs(weight).max() <= 1 / 90**0.5
        assert np.std(weight) == pytest.approx(1 / 270**0.5, rel=0.1)


def test_the_fan_out_of_a_depthwise_convolution_is_one_channel():
    layer = DepthwiseConvolution(5)
    layer.build((None, None, None, 400))
    assert np.std(layer.kernel.numpy()) == pytest.approx((2 / 25) ** 0.5, rel=0.05)


def test_the_gradient_of_a_bias_is_exact_in_half_precision():
    layer = Convolution(2, 1, dtype="mixed_bfloat16")
    layer.build((1, None, None, 1))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(tf.zeros((1, 32, 32, 1))))
    assert tape.gradient(total, layer.bias.value).numpy().tolist() == [1024.0, 1024.0]


def test_configs_round_trip():
    layer = Convolution(4, 3, dilation=2, use_bias=False, start_values="fan_in_uniform", name="conv")
    assert Convolution.from_config(layer.get_config()).get_config() == layer.get_config()
    depthwise = DepthwiseConvolution((1, 7), use_bias=False, name="row")
    assert DepthwiseConvolution.from_config(depthwise.get_config()).get_config() == depthwise.get_config()


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="kernel_size must be one or two positive odd numbers, received 2"):
        Convolution(4, 2)
    with pytest.raises(ValueError, match="start_values must be one of"):
        Convolution(4, 3, start_values="zeros")
    with pytest.raises(ValueError, match="stride and dilation exclude each other"):
        Convolution(4, 3, stride=2, dilation=2)
    with pytest.raises(ValueError, match="must be positive, received 0"):
        Convolution(0, 3)
