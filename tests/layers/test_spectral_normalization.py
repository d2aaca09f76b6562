import float64_reference as reference
import keras
import numpy as np
import pytest
import tensorflow as tf

from hamgan.layers import SNConv2D, SNDense, SNEmbedding, spectral_norm


def normal(*shape, seed=0, scale=1.0):
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def test_spectral_norm_is_one_power_iteration_in_float64():
    matrix, u = normal(7, 4), normal(7, 1, seed=1)
    norm, new_u = spectral_norm(tf.constant(matrix), tf.constant(u))
    expected_norm, expected_u, _ = reference.spectral_norm(matrix, u)
    assert norm.shape == ()
    assert float(norm) == pytest.approx(expected_norm, rel=1e-6)
    np.testing.assert_allclose(new_u, expected_u, rtol=1e-5, atol=1e-6)


def test_spectral_norm_converges_to_the_largest_singular_value():
    matrix, u = tf.constant(normal(6, 9)), tf.constant(normal(6, 1, seed=1))
    largest = np.linalg.svd(matrix.numpy(), compute_uv=False)[0]
    assert float(spectral_norm(matrix, u)[0]) < 0.99 * largest
    for _ in range(100):
        norm, u = spectral_norm(matrix, u)
    assert float(norm) == pytest.approx(largest, rel=1e-5)


def test_gradient_of_the_norm_is_the_outer_product_of_constant_vectors():
    matrix, u = normal(7, 4), normal(7, 1, seed=1)
    weight, state = tf.constant(matrix), tf.constant(u)
    with tf.GradientTape() as tape:
        tape.watch([weight, state])
        norm, _ = spectral_norm(weight, state)
    to_weight, to_state = tape.gradient(norm, [weight, state])
    _, new_u, v = reference.spectral_norm(matrix, u)
    assert reference.relative_error(to_weight, new_u @ v.T) < 1e-6
    assert to_state is None


def dense_layer(*, norm_floor, scale):
    layer = SNDense(4, norm_floor=norm_floor)
    layer.build((None, 7))
    layer.kernel.assign(normal(7, 4, scale=scale))
    layer.u.assign(normal(7, 1, seed=1))
    return layer


@pytest.mark.parametrize(
    ("norm_floor", "scale", "divides"), [(0.0, 3.0, True), (0.0, 0.01, True), (1.0, 3.0, True), (1.0, 0.01, False)]
)
def test_norm_floor_determines_whether_small_kernels_are_scaled_up(norm_floor, scale, divides):
    layer = dense_layer(norm_floor=norm_floor, scale=scale)
    kernel = layer.kernel.numpy()
    norm, _, _ = reference.spectral_norm(kernel, layer.u.numpy())
    expected = kernel / norm if divides else kernel
    assert reference.relative_error(layer.normalized_kernel(training=False), expected) < 1e-6


@pytest.mark.parametrize(
    ("norm_floor", "scale", "divides"), [(0.0, 3.0, True), (0.0, 0.01, True), (1.0, 3.0, True), (1.0, 0.01, False)]
)
def test_gradient_flows_through_the_norm_where_it_divides(norm_floor, scale, divides):
    layer = dense_layer(norm_floor=norm_floor, scale=scale)
    kernel = layer.kernel.numpy().astype(np.float64)
    upstream = normal(7, 4, seed=2).astype(np.float64)
    norm, new_u, v = reference.spectral_norm(kernel, layer.u.numpy())
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer.normalized_kernel(training=True) * tf.cast(upstream, tf.float32))
    gradient = tape.gradient(loss, layer.trainable_weights)[0]
    through_norm = upstream / norm - np.sum(upstream * kernel) / norm**2 * (new_u @ v.T)
    assert reference.relative_error(gradient, through_norm if divides else upstream) < 1e-5


LAYERS = {
    "conv": (lambda: SNConv2D(5, 3), normal(2, 4, 4, 3)),
    "dense": (lambda: SNDense(5), normal(2, 6)),
    "embedding": (lambda: SNEmbedding(5, 6), np.array([1, 4])),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_only_training_calls_update_the_singular_vector(kind):
    make, inputs = LAYERS[kind]
    layer = make()
    layer.build(inputs.shape)
    before = layer.u.numpy()
    kernel = layer.kernel.numpy()
    layer(inputs)
    layer(inputs, training=False)
    np.testing.assert_array_equal(layer.u.numpy(), before)
    layer(inputs, training=True)
    matrix = kernel.T if kind == "embedding" else kernel.reshape(-1, kernel.shape[-1])
    _, new_u, _ = reference.spectral_norm(matrix, before)
    np.testing.assert_allclose(layer.u.numpy(), new_u, rtol=1e-5, atol=1e-6)
    assert not layer.u.trainable


@pytest.mark.parametrize("kernel_size", [1, 3])
@pytest.mark.parametrize("use_bias", [True, False])
def test_conv_equals_conv2d_with_the_normalised_kernel(kernel_size, use_bias):
    inputs = normal(2, 5, 4, 3)
    layer = SNConv2D(6, kernel_size, use_bias=use_bias)
    layer.build(inputs.shape)
    kernel = normal(kernel_size, kernel_size, 3, 6, seed=1)
    layer.kernel.assign(kernel)
    layer.u.assign(normal(*layer.u.shape, seed=3))
    bias = normal(6, seed=2) if use_bias else np.zeros(6)
    if use_bias:
        layer.bias.assign(bias)
    norm, _, _ = reference.spectral_norm(kernel.reshape(-1, 6), layer.u.numpy())
    assert norm > 1
    expected = tf.nn.conv2d(inputs.astype(np.float64), kernel / norm, strides=1, padding="SAME") + bias
    assert reference.relative_error(layer(inputs), expected) < 1e-6


def test_dense_equals_a_product_with_the_normalised_kernel_plus_bias():
    layer = dense_layer(norm_floor=1.0, scale=2.0)
    inputs, bias = normal(3, 7, seed=3), normal(4, seed=4)
    layer.bias.assign(bias)
    norm, _, _ = reference.spectral_norm(layer.kernel.numpy(), layer.u.numpy())
    assert reference.relative_error(layer(inputs), inputs @ (layer.kernel.numpy() / norm) + bias) < 1e-6


def test_embedding_normalises_the_transposed_table():
    layer = SNEmbedding(5, 6)
    layer.build((None,))
    table = normal(5, 6)
    layer.kernel.assign(table)
    assert layer.u.shape == (6, 1)
    norm, _, _ = reference.spectral_norm(table.T, layer.u.numpy())
    assert norm > 1
    labels = np.array([3, 0, 3])
    assert reference.relative_error(layer(labels), table[labels] / norm) < 1e-6


def test_layers_reject_invalid_shapes_and_arguments():
    with pytest.raises(ValueError, match="expects"):
        SNConv2D(2, 3).build((None, 4, 4, None))
    with pytest.raises(ValueError, match="expects"):
        SNDense(2).build((None, 4, 4))
    with pytest.raises(ValueError, match="norm_floor"):
        SNDense(2, norm_floor=-1.0)
    with pytest.raises(ValueError, match="filters and kernel_size"):
        SNConv2D(0, 3)
    with pytest.raises(ValueError, match="units"):
        SNDense(0)
    with pytest.raises(ValueError, match="num_classes and width"):
        SNEmbedding(3, 0)


WITH_BIAS = {
    "conv": (lambda **arguments: SNConv2D(3, 3, **arguments), (2, 4, 4, 2)),
    "products": (lambda **arguments: SNConv2D(3, 3, form="products", resampling="up", **arguments), (2, 4, 4, 2)),
    "dense": (lambda **arguments: SNDense(3, **arguments), (4, 5)),
}


@pytest.mark.parametrize("mode", ["eager", "graph", pytest.param("xla", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", WITH_BIAS)
def test_gradient_penalty_matches_the_formula(name, mode):
    make, shape = WITH_BIAS[name]
    layer = make(dtype="float64", norm_floor=0.0)
    layer.build(shape)
    layer.bias.assign(normal(*layer.bias.shape, seed=3))
    inputs = tf.constant(normal(*shape), tf.float64)
    _, u, v = reference.spectral_norm(layer.kernel.numpy().reshape(-1, 3), layer.u.numpy())

    def formula(inputs):
        # The singular vectors are constants, but the norm depends on the kernel.
        kernel = layer.kernel.value
        kernel = kernel / tf.reduce_sum(u * tf.matmul(tf.reshape(kernel, (-1, 3)), v))
        if name == "dense":
            return inputs @ kernel + layer.bias.value
        if name == "products":
            inputs = tf.repeat(tf.repeat(inputs, 2, axis=1), 2, axis=2)
        return tf.nn.conv2d(inputs, kernel, 1, "SAME") + layer.bias.value

    def penalty_gradients(function):
        weights = [layer.kernel.value, layer.bias.value]
        with tf.GradientTape() as tape:
            with tf.GradientTape() as inner:
                inner.watch(inputs)
                outputs = tf.reduce_sum(tf.sin(function(inputs)))
            penalty = tf.reduce_sum(inner.gradient(outputs, inputs) ** 2)
        return tape.gradient(penalty, weights)

    compiled = {"eager": lambda f: f, "graph": tf.function, "xla": lambda f: tf.function(f, jit_compile=True)}[mode]
    found, expected = compiled(lambda: penalty_gradients(layer))(), penalty_gradients(formula)
    for ours, theirs in zip(found, expected, strict=True):
        assert reference.relative_error(ours, tf.convert_to_tensor(theirs)) < 1e-12


@pytest.mark.parametrize("mode", ["graph", pytest.param("xla", marks=pytest.mark.slow)])
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "bfloat16", "float16"])
@pytest.mark.parametrize("name", ["conv", "dense", "embedding"])
def test_gradients_are_accumulated_in_float32(name, policy, mode):
    # 4,096 ones: a running sum stops at 256 in bfloat16, and at 2,048 in float16.
    if name == "embedding":
        layer, inputs = SNEmbedding(2, 1, dtype=policy), tf.zeros((4096,), tf.int32)
    elif name == "dense":
        layer, inputs = SNDense(1, dtype=policy), tf.zeros((4096, 1))
    else:
        layer, inputs = SNConv2D(1, 1, dtype=policy), tf.zeros((1, 64, 64, 1))
    layer.build(inputs.shape)
    weight = layer.kernel if name == "embedding" else layer.bias
    weight.assign(tf.ones_like(weight) * 2.0**-6)  # Below norm_floor, so rows are not scaled.

    def gradient():
        with tf.GradientTape() as tape:
            outputs = layer(inputs)
        return tape.gradient(outputs, weight.value)

    found = tf.convert_to_tensor(tf.function(gradient, jit_compile=mode == "xla")())
    assert found.dtype == weight.dtype
    assert float(tf.reduce_sum(found)) == 4096


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_layers_compute_the_norm_in_float32(dtype):
    layer = SNDense(4, norm_floor=0.0, dtype=dtype)
    layer.build((None, 7))
    layer.kernel.assign(normal(7, 4, scale=1e-3))
    layer.u.assign(normal(7, 1, seed=1))
    kernel = tf.cast(layer.kernel.value, tf.float64).numpy()
    norm, _, _ = reference.spectral_norm(kernel, layer.u.numpy())
    assert layer.u.dtype == "float32"
    normalized = layer.normalized_kernel(training=True)
    assert normalized.dtype == dtype
    assert reference.relative_error(tf.cast(normalized, tf.float32), kernel / norm) < 1e-2


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_embedding_accepts_labels_of_keras_inputs(policy):
    layer = SNEmbedding(990, 4, dtype=policy)
    labels = np.arange(990)
    expected = layer(labels)
    model_input = keras.Input((1,))
    model = keras.Model(model_input, layer(model_input))
    assert model.output_shape == (None, 4)
    # As float32 of shape (batch, 1); bfloat16 would round every second label.
    np.testing.assert_array_equal(model(labels[:, None].astype(np.float32)), expected)
    np.testing.assert_array_equal(layer(labels.astype(np.float32)), expected)
