import float64_reference as reference
import keras
import numpy as np
import pytest
import tensorflow as tf
from second_order import assert_right_to_second_order

from hamgan.layers import BatchNormalization, ConditionalBatchNormalization, Hamburger
from hamgan.layers.batch_normalization import Accumulate, batch_normalization_layers, normalize_by_batch
from hamgan.layers.class_lookup import class_rows
from hamgan.networks.blocks import GeneratorBlock

SHAPE = (4, 3, 5, 6)
NUM_CLASSES = 3
LABELS = np.array([2, 0, 2, 1])


def images():
    rng = np.random.default_rng(0)
    return (rng.normal(size=SHAPE) * rng.uniform(0.5, 2, SHAPE[-1]) + rng.normal(size=SHAPE[-1])).astype(np.float32)


def built_layer(conditional, **arguments):
    layer = ConditionalBatchNormalization(NUM_CLASSES, **arguments) if conditional else BatchNormalization(**arguments)
    layer.build(SHAPE)
    rng = np.random.default_rng(1)
    layer.gamma.assign(rng.normal(size=layer.gamma.shape))
    layer.beta.assign(rng.normal(size=layer.beta.shape))
    layer.moving_mean.assign(rng.normal(size=SHAPE[-1]))
    layer.moving_variance.assign(rng.uniform(0.5, 2, SHAPE[-1]))
    return layer


def call(layer, conditional, **arguments):
    return layer(images(), LABELS, **arguments) if conditional else layer(images(), **arguments)


def affine(layer, conditional):
    gamma, beta = layer.gamma.numpy(), layer.beta.numpy()
    return (gamma[LABELS][:, None, None], beta[LABELS][:, None, None]) if conditional else (gamma, beta)


both_forms = pytest.mark.parametrize("conditional", [False, True])


@both_forms
def test_training_normalises_by_batch_statistics(conditional):
    layer = built_layer(conditional)
    expected = reference.batch_norm(images(), *affine(layer, conditional))
    assert reference.relative_error(call(layer, conditional, training=True), expected) < 1e-5


@both_forms
def test_gradients_match_automatic_differentiation(conditional):
    layer = built_layer(conditional, dtype="float64")
    inputs = tf.constant(images(), tf.float64)
    upstream = tf.constant(np.random.default_rng(2).normal(size=SHAPE))

    def formula(inputs):
        gamma, beta = layer.gamma.value, layer.beta.value
        if conditional:
            gamma, beta = (tf.gather(table, LABELS)[:, None, None] for table in (gamma, beta))
        mean, variance = tf.nn.moments(inputs, (0, 1, 2))
        return gamma * (inputs - mean) / tf.sqrt(variance + layer.epsilon) + beta

    def normalized(inputs):
        return layer(inputs, LABELS, training=True) if conditional else layer(inputs, training=True)

    def gradients(function):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = function(inputs)
        return tape.gradient(outputs, [inputs, layer.gamma.value, layer.beta.value], upstream)

    for found, expected in zip(gradients(normalized), gradients(formula), strict=True):
        assert reference.relative_error(tf.convert_to_tensor(found), tf.convert_to_tensor(expected)) < 1e-13


@pytest.mark.parametrize("mode", ["eager", "graph", pytest.param("xla", marks=pytest.mark.slow)])
@pytest.mark.parametrize("training", [False, True])
@both_forms
def test_second_derivatives_are_right(conditional, training, mode):
    layer = built_layer(conditional, dtype="float64")
    labels = [tf.constant(LABELS)] if conditional else []

    def normalized(inputs, gamma, beta):
        affine = (
            (class_rows(table, *labels)[:, None, None] for table in (gamma, beta)) if conditional else (gamma, beta)
        )
        if training:
            return tf.sin(normalize_by_batch(inputs, *affine, layer.epsilon)[0])
        return tf.sin(layer(inputs, *labels, training=False))

    assert_right_to_second_order(
        normalized,
        images(),
        layer.gamma.numpy(),
        layer.beta.numpy(),
        mode=mode,
        constants=() if training else (1, 2),
    )


def test_statistics_are_differentiable():
    gamma, beta = (tf.constant(value, tf.float64, (images().shape[-1],)) for value in (1.0, 0.0))

    def moments(inputs):
        _, (mean, variance, _count) = normalize_by_batch(inputs, gamma, beta, epsilon=1e-3)
        return tf.sin(mean) * variance

    def expected_moments(inputs):
        mean, variance = tf.nn.moments(inputs, (0, 1, 2))
        return tf.sin(mean) * variance

    def gradient(function):
        inputs = tf.constant(images(), tf.float64)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = function(inputs)
        return tape.gradient(outputs, inputs)

    assert reference.relative_error(gradient(moments), gradient(expected_moments)) < 1e-13


def test_gradient_penalty_equals_that_of_the_keras_layer():
    ours, theirs = BatchNormalization(dtype="float64"), keras.layers.BatchNormalization(epsilon=1e-3, dtype="float64")
    inputs = tf.constant(images(), tf.float64)

    def penalty_gradient(layer):
        layer.build(SHAPE)
        layer.gamma.assign(np.linspace(0.5, 2.0, SHAPE[-1]))
        with tf.GradientTape() as tape:
            with tf.GradientTape() as inner:
                inner.watch(inputs)
                outputs = tf.reduce_sum(layer(inputs, training=True) ** 3)
            penalty = tf.reduce_sum(inner.gradient(outputs, inputs) ** 2)
        return tf.convert_to_tensor(tape.gradient(penalty, layer.gamma.value))

    expected = penalty_gradient(theirs)
    assert np.linalg.norm(expected) > 1
    assert reference.relative_error(penalty_gradient(ours), expected) < 1e-10


@pytest.mark.parametrize("shares", [(3, 2), (4, 3), (4, 0), (0, 0)])
@both_forms
def test_replicas_with_unequal_batches_equal_a_single_device(conditional, shares, two_replicas):
    rng = np.random.default_rng(5)
    parts = [rng.normal(size=(share, *SHAPE[1:])) for share in shares]
    upstream = [rng.normal(size=part.shape) for part in parts]
    labels = [rng.integers(0, NUM_CLASSES, share) for share in shares]

    def results(layer, inputs, labels, upstream):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, labels, training=True) if conditional else layer(inputs, training=True)
            loss = tf.reduce_sum(outputs * upstream)
        return outputs, tape.gradient(loss, inputs)

    with two_replicas.scope():
        spread = built_layer(conditional, dtype="float64")
    single = built_layer(conditional, dtype="float64")
    before = single.get_weights()

    def distributed(values, dtype):
        return two_replicas.experimental_distribute_values_from_function(
            lambda context: tf.constant(values[context.replica_id_in_sync_group], dtype)
        )

    found = tf.function(lambda *arguments: two_replicas.run(results, args=(spread, *arguments)))(
        distributed(parts, tf.float64), distributed(labels, tf.int32), distributed(upstream, tf.float64)
    )
    if sum(shares):
        whole = [tf.constant(np.concatenate(values)) for values in (parts, labels, upstream)]
        for per_replica, expected in zip(found, results(single, *whole), strict=True):
            together = np.concatenate(two_replicas.experimental_local_results(per_replica))
            assert reference.relative_error(together, expected) < 1e-12
    for value, expected, old in zip(spread.get_weights(), single.get_weights(), before, strict=True):
        np.testing.assert_allclose(value, expected if sum(shares) else old, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_layers_average_in_float32(dtype):
    layer = built_layer(conditional=False, dtype=dtype)
    inputs = tf.cast(images() + 30, dtype)
    outputs = layer(inputs, training=True)
    assert outputs.dtype == dtype
    assert layer.moving_mean.dtype == layer.moving_variance.dtype == "float32"
    exact = tf.cast(inputs, tf.float64).numpy()
    gamma, beta = (tf.cast(weight.value, tf.float64).numpy() for weight in (layer.gamma, layer.beta))
    assert reference.relative_error(tf.cast(outputs, tf.float32), reference.batch_norm(exact, gamma, beta)) < 2e-1


@both_forms
@pytest.mark.parametrize("arguments", [{}, {"training": False}])
def test_evaluation_with_batch_statistics_changes_no_state(conditional, arguments):
    layer = built_layer(conditional)
    before = layer.get_weights()
    expected = reference.batch_norm(images(), *affine(layer, conditional))
    outputs = call(layer, conditional, statistics="batch", **arguments)
    assert reference.relative_error(outputs, expected) < 1e-5
    for value, old in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, old)


@both_forms
def test_accumulate_adds_weighted_batch_statistics(conditional):
    layer = built_layer(conditional)
    old_mean, old_variance = layer.moving_mean.numpy(), layer.moving_variance.numpy()
    x = images().astype(np.float64)
    expected = reference.batch_norm(images(), *affine(layer, conditional))
    # In a graph, which must run the assignments even if the outputs are unused.
    outputs = tf.function(lambda: call(layer, conditional, statistics=Accumulate(0.25)))()
    assert reference.relative_error(outputs, expected) < 1e-5
    np.testing.assert_allclose(layer.moving_mean, old_mean + 0.25 * x.mean((0, 1, 2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.moving_variance, old_variance + 0.25 * x.var((0, 1, 2)), rtol=1e-5)


@both_forms
@pytest.mark.parametrize("statistics", ["batch", Accumulate(0.5)])
def test_evaluation_statistics_do_not_affect_training(conditional, statistics):
    layer, other = built_layer(conditional), built_layer(conditional)
    outputs = call(layer, conditional, training=True)
    np.testing.assert_array_equal(outputs, call(other, conditional, training=True, statistics=statistics))
    for value, other_value in zip(layer.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(value, other_value)


def test_unknown_statistics_are_rejected():
    with pytest.raises(ValueError, match=r"statistics must be one of \('moving', 'batch'\) .*, received 'bach'"):
        built_layer(conditional=False)(images(), statistics="bach")


def test_batch_normalization_layers_finds_all_layers_of_a_network():
    block = GeneratorBlock(4, num_classes=NUM_CLASSES)
    assert batch_normalization_layers(block) == [block.norm1, block.norm2]
    hamburger = Hamburger(latent_dim=6, rank=2, batch_norm="plain")
    hamburger.build(SHAPE)
    assert batch_normalization_layers(hamburger) == [hamburger.normalization]


@both_forms
@pytest.mark.parametrize("momentum", [None, 0.9])
def test_training_updates_the_moving_averages(conditional, momentum):
    layer = built_layer(conditional, **({} if momentum is None else {"momentum": momentum}))
    decay = momentum or 0.999
    x = images().astype(np.float64)
    mean = x.mean((0, 1, 2))
    biased_variance = (x**2).mean((0, 1, 2)) - mean**2
    expected_mean = decay * layer.moving_mean.numpy() + (1 - decay) * mean
    expected_variance = decay * layer.moving_variance.numpy() + (1 - decay) * biased_variance
    call(layer, conditional, training=True)
    np.testing.assert_allclose(layer.moving_mean, expected_mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.moving_variance, expected_variance, rtol=1e-5)


@both_forms
def test_the_moving_variance_can_be_unbiased(conditional):
    layer = built_layer(conditional, unbiased_variance=True)
    x = images().astype(np.float64)
    expected_mean = 0.999 * layer.moving_mean.numpy() + 0.001 * x.mean((0, 1, 2))
    expected_variance = 0.999 * layer.moving_variance.numpy() + 0.001 * x.var((0, 1, 2), ddof=1)
    expected = reference.batch_norm(x, *affine(layer, conditional))
    assert reference.relative_error(call(layer, conditional, training=True), expected) < 1e-5
    np.testing.assert_allclose(layer.moving_mean, expected_mean, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(layer.moving_variance, expected_variance, rtol=1e-6)
    assert type(layer).from_config(layer.get_config()).unbiased_variance


def test_the_unbiased_variance_of_one_position_is_zero():
    layer = BatchNormalization(momentum=0.5, unbiased_variance=True)
    layer(np.ones((1, 1, 1, 3), np.float32), training=True)
    np.testing.assert_array_equal(layer.moving_variance, [0.5] * 3)


def test_labels_select_gamma_and_beta_but_not_statistics():
    layer = built_layer(conditional=True)
    one, other = (layer(images(), np.full(4, label), training=True).numpy() for label in (0, 1))
    gamma, beta = layer.gamma.numpy(), layer.beta.numpy()
    np.testing.assert_allclose((one - beta[0]) / gamma[0], (other - beta[1]) / gamma[1], rtol=1e-3, atol=1e-4)
    assert np.abs(one - other).max() > 0.1


@both_forms
def test_initial_state_normalises_without_scale_or_offset(conditional):
    layer = ConditionalBatchNormalization(NUM_CLASSES) if conditional else BatchNormalization()
    expected = reference.batch_norm(images(), 1.0, 0.0)
    assert reference.relative_error(call(layer, conditional, training=True), expected) < 1e-5
    assert layer.gamma.shape == ((NUM_CLASSES, SHAPE[-1]) if conditional else (SHAPE[-1],))
    assert layer.moving_mean.shape == (SHAPE[-1],)


def test_constant_input_stays_finite():
    outputs = BatchNormalization()(np.full(SHAPE, 1000.1, np.float32), training=True)
    # At 1e6, rounding can make E[x^2] - E[x]^2 negative.
    assert np.abs(outputs).max() < 10


def test_arguments_and_shapes_are_checked():
    with pytest.raises(ValueError, match=r"momentum must be in \[0, 1\)"):
        BatchNormalization(momentum=1.0)
    with pytest.raises(ValueError, match="num_classes must be positive"):
        ConditionalBatchNormalization(0)
    with pytest.raises(ValueError, match=r"expects \(batch, height, width, channels\)"):
        BatchNormalization().build((None, 4))
