import keras
import numpy as np
import pytest
import tensorflow as tf

from hamgan.layers import SelfAttention

CHANNELS = 8


def images(height, width):
    return np.random.default_rng(0).normal(size=(2, height, width, CHANNELS)).astype(np.float32)


@pytest.fixture(scope="module")
def layer():
    layer = SelfAttention()
    layer.build((None, None, None, CHANNELS))
    layer.sigma.assign(0.7)
    return layer


def expected(layer, x):
    """Self-attention in float64, with max pooling by Keras."""
    x = x.astype(np.float64)

    def convolve(images, part):
        return images @ part.normalized_kernel(training=False).numpy().astype(np.float64)[0, 0]

    def pooled(images):
        return keras.layers.MaxPooling2D(2, padding="valid", dtype="float64")(images).numpy()

    def positions(images):
        return images.reshape(len(images), -1, images.shape[-1])

    queries = positions(convolve(x, layer.theta))
    keys, values = (positions(pooled(convolve(x, part))) for part in (layer.phi, layer.g))
    scores = np.exp(queries @ keys.transpose(0, 2, 1))
    context = scores / scores.sum(-1, keepdims=True) @ values
    return x + layer.sigma.numpy() * convolve(context.reshape(*x.shape[:3], -1), layer.attend)


@pytest.mark.parametrize(("height", "width"), [(4, 6), (5, 6), (4, 7), (3, 5), (2, 3)])
@pytest.mark.parametrize("mode", ["eager", pytest.param("xla", marks=pytest.mark.slow), "unknown sizes"])
def test_all_sizes_match_the_float64_definition_with_valid_max_pooling(layer, height, width, mode):
    x = images(height, width)
    call = layer
    if mode == "xla":
        call = tf.function(layer, jit_compile=True)
    elif mode == "unknown sizes":
        call = tf.function(layer, input_signature=[tf.TensorSpec((None, None, None, CHANNELS))])
    outputs = call(tf.constant(x))
    np.testing.assert_allclose(outputs, expected(layer, x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 4), (4, 1)])
def test_images_too_small_for_pooling_are_rejected(layer, size):
    with pytest.raises(ValueError, match="expects height and width of at least 2, received"):
        layer(images(*size))


def test_other_ranks_and_channels_are_rejected(layer):
    with pytest.raises(ValueError, match="expected ndim=4, found ndim=3"):
        layer(images(4, 4)[0])
    with pytest.raises(ValueError, match="expected axis -1 of input shape to have value 8"):
        layer(np.zeros((2, 4, 4, 16), np.float32))
