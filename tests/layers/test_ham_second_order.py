"""Second derivatives of the hams, compared with float64 references and finite differences."""

import float64_reference as reference
import numpy as np
import pytest
import tensorflow as tf
from second_order import assert_right_to_second_order

from hamgan.layers import Hamburger, concept_decomposition, nmf, vector_quantization

POSITIONS, LATENT_DIM, RANK, NUM_STEPS, TEMPERATURE, RIDGE = 6, 5, 3, 2, 5.0, 0.1
MODES = ["eager", "graph", pytest.param("xla", marks=pytest.mark.slow)]

FUNCTIONS = {
    "nmf": lambda x, bases, **options: nmf(x, bases, num_steps=NUM_STEPS, **options),
    "cd": lambda x, bases, **options: concept_decomposition(
        x, bases, num_steps=NUM_STEPS, inverse_temperature=TEMPERATURE, ridge=RIDGE, **options
    ),
    "vq": lambda x, bases, **options: vector_quantization(
        x, bases, num_steps=NUM_STEPS, inverse_temperature=TEMPERATURE, **options
    ),
}


def example(ham):
    rng = np.random.default_rng(3)
    draw = rng.uniform if ham == "nmf" else rng.normal
    x, bases = rng.normal(size=(2, POSITIONS, LATENT_DIM)), draw(size=(2, LATENT_DIM, RANK))
    return tf.constant(x, tf.float64), tf.constant(bases, tf.float64)


def last_step(ham, x, bases):
    """The last step as a float64 function of X; the iterations at ``x`` give its constants."""
    channels_first = reference.transpose(x.numpy())
    if ham == "nmf":
        a, c = reference.nmf_factors(channels_first, bases.numpy(), NUM_STEPS)
        ratio = c / (c @ reference.transpose(a) @ a + 1e-6)
        return lambda x: tf.matmul(ratio * tf.matmul(tf.nn.relu(x), a), a, transpose_b=True)
    if ham == "cd":
        a = reference.cd_bases(channels_first, bases.numpy(), NUM_STEPS, TEMPERATURE)
        dual = a @ np.linalg.inv(reference.transpose(a) @ a + RIDGE * np.eye(RANK))
        return lambda x: tf.matmul(tf.matmul(x, dual), a, transpose_b=True)
    a = reference.vq_bases(channels_first, bases.numpy(), NUM_STEPS, TEMPERATURE)
    scale = TEMPERATURE / (1e-6 + np.linalg.norm(x.numpy(), axis=-1, keepdims=True))
    directions = reference.l2_normalize(a, axis=1)
    return lambda x: tf.matmul(tf.nn.softmax(scale * tf.matmul(x, directions)), a, transpose_b=True)


def penalty(function, x):
    """The squared gradient norm of a nonlinear function of the outputs."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(tf.tanh(function(x)))
    return tf.reduce_sum(tf.square(tape.gradient(total, x)))


def penalty_gradient(function, x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = penalty(function, x)
    return tape.gradient(value, x)


def directional_difference(function, x, direction, step=1e-5):
    return (penalty(function, x + step * direction) - penalty(function, x - step * direction)) / (2 * step)


@pytest.mark.parametrize("ham", FUNCTIONS)
@pytest.mark.parametrize("mode", MODES)
def test_second_derivative_matches_the_last_step(ham, mode):
    x, bases = example(ham)
    frozen = last_step(ham, x, bases)

    def compute(x):
        return penalty_gradient(lambda x: FUNCTIONS[ham](x, bases), x)

    gradient = (compute if mode == "eager" else tf.function(compute, jit_compile=mode == "xla"))(x)
    assert reference.relative_error(gradient, penalty_gradient(frozen, x)) < 1e-9
    direction = np.random.default_rng(4).normal(size=x.shape)
    expected = directional_difference(frozen, x, direction)
    assert float(tf.reduce_sum(gradient * direction)) == pytest.approx(float(expected), rel=1e-6)


def test_vector_quantization_has_a_nonzero_second_derivative():
    """The upstream gradient is constant, so only the curvature of the softmax contributes."""
    x, bases = example("vq")
    upstream, direction = np.random.default_rng(5).normal(size=(2, *x.shape))
    frozen = last_step("vq", x, bases)

    def gradient_along(function, x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = function(x)
        return tf.reduce_sum(tape.gradient(outputs, x, upstream) * direction)

    with tf.GradientTape() as tape:
        tape.watch(x)
        value = gradient_along(lambda x: FUNCTIONS["vq"](x, bases), x)
    curvature = tf.reduce_sum(tape.gradient(value, x) * direction)
    step = 1e-5 * direction
    expected = (gradient_along(frozen, x + step) - gradient_along(frozen, x - step)) / 2e-5
    assert float(curvature) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("ham", FUNCTIONS)
@pytest.mark.parametrize("mode", MODES)
def test_unrolled_gradients_include_all_iterations(ham, mode):
    x, bases = example(ham)

    def function(x):
        return FUNCTIONS[ham](x, bases, gradient="unrolled")

    def compute(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(tf.tanh(function(x)))
        return tape.gradient(total, x), penalty_gradient(function, x)

    first, second = (compute if mode == "eager" else tf.function(compute, jit_compile=mode == "xla"))(x)
    direction = np.random.default_rng(4).normal(size=x.shape)
    ahead, behind = (tf.reduce_sum(tf.tanh(function(x + step * direction))) for step in (1e-6, -1e-6))
    assert float(tf.reduce_sum(first * direction)) == pytest.approx(float(ahead - behind) / 2e-6, rel=1e-6)
    expected = directional_difference(function, x, direction)
    assert float(tf.reduce_sum(second * direction)) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("mode", MODES)
def test_second_derivatives_of_hamburger_match_finite_differences(version, mode):
    """Concept decomposition without iterations has no constants that depend on the input."""
    layer = Hamburger(4, 2, ham="cd", version=version, num_steps=0, batch_norm="plain", seed=0, dtype="float64")
    layer.build((None, None, None, 3))
    layer.sigma.assign(0.7)
    x = np.random.default_rng(5).normal(size=(2, 3, 2, 3))
    assert_right_to_second_order(lambda x: layer(x, training=False), x, mode=mode)
