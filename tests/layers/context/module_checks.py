"""Checks of context modules with random weights against NumPy references and finite differences, in float64."""

import keras
import numpy as np
import tensorflow as tf
from golden_files import relative

SIGMA = 0.7
BATCH, HEIGHT, WIDTH, CHANNELS = 3, 5, 8, 16
STEP = 1e-6


def images(seed=0, channels=CHANNELS):
    return np.random.default_rng(seed).normal(size=(BATCH, HEIGHT, WIDTH, channels))


def randomized(module, x):
    """Builds a module and draws all its weights, except running bases and variances; sigma is 0.7."""
    module.build(x.shape)
    rng = np.random.default_rng(1)
    for weight in module.trainable_weights:
        weight.assign(0.5 * rng.normal(size=weight.shape))
    module.sigma.assign(SIGMA)
    return module


def conv(layer, x):
    """A 1x1 convolution of images, positions or vectors, without spectral normalisation."""
    outputs = x @ keras.ops.convert_to_numpy(layer.kernel)[0, 0]
    return outputs + keras.ops.convert_to_numpy(layer.bias) if layer.use_bias else outputs


def softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def check_reference(module, context, seed=0):
    """Compares a module with ``x + sigma * context(module, x)`` on images of another size than the golden ones."""
    x = images(seed)
    randomized(module, x)
    expected = x + SIGMA * context(module, x)
    assert relative(module(tf.constant(x)), expected) < 1e-12
    assert relative(expected, x) > 1e-2


def check_gradients(module, seed=0):
    """Compares the gradients to inputs and all trainable weights with central differences along random directions."""
    x = images(seed)
    randomized(module, x)
    rng = np.random.default_rng(2)
    upstream = rng.normal(size=x.shape)
    inputs = tf.Variable(x)
    sources = [inputs, *(weight.value for weight in module.trainable_weights)]

    def loss():
        return tf.reduce_sum(module(tf.convert_to_tensor(inputs)) * upstream)

    with tf.GradientTape() as tape:
        value = loss()
    names = ["inputs", *(weight.path for weight in module.trainable_weights)]
    for name, source, gradient in zip(names, sources, tape.gradient(value, sources), strict=True):
        direction = rng.normal(size=source.shape)
        start = source.numpy()
        sides = []
        for sign in (1, -1):
            source.assign(start + sign * STEP * direction)
            sides.append(loss().numpy())
        source.assign(start)
        slope = (sides[0] - sides[1]) / (2 * STEP)
        actual = np.sum(gradient * direction)
        # A bias before a softmax has no gradient; the floor is rounding of the loss over the step.
        assert abs(actual - slope) < 1e-6 * abs(slope) + 1e-7, name
