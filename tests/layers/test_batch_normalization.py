import float64_reference as reference
import numpy as np
import pytest
import tensorflow as tf

from hamgan.layers import BatchNormalization, ConditionalBatchNormalization, Hamburger
from hamgan.layers.batch_normalization import batch_normalization_layers
from hamgan.models.blocks import GeneratorBlock

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
def test_training_normalises_by_the_statistics_of_the_batch(conditional):
    layer = built_layer(conditional)
    expected = reference.batch_norm(images(), *affine(layer, conditional))
    assert reference.relative_error(call(layer, conditional, training=True), expected) < 1e-5


@both_forms
def test_gradients_are_those_of_the_formula(conditional):
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


@both_forms
@pytest.mark.parametrize("arguments", [{}, {"training": False}])
def test_evaluation_normalises_by_the_moving_statistics_and_keeps_them(conditional, arguments):
    layer = built_layer(conditional)
    mean, variance = layer.moving_mean.numpy(), layer.moving_variance.numpy()
    expected = reference.batch_norm(images(), *affine(layer, conditional), mean, variance)
    assert reference.relative_error(call(layer, conditional, **arguments), expected) < 1e-5
    np.testing.assert_array_equal(layer.moving_mean, mean)
    np.testing.assert_array_equal(layer.moving_variance, variance)


@both_forms
@pytest.mark.parametrize("arguments", [{}, {"training": False}])
def test_in_batch_mode_evaluation_normalises_by_the_batch_and_changes_nothing(conditional, arguments):
    layer = built_layer(conditional)
    layer.evaluation_statistics = "batch"
    layer.accumulation_weight = 0.5
    before = layer.get_weights()
    expected = reference.batch_norm(images(), *affine(layer, conditional))
    assert reference.relative_error(call(layer, conditional, **arguments), expected) < 1e-5
    for value, old in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, old)


@both_forms
def test_in_accumulate_mode_evaluation_adds_the_weighted_statistics_of_the_batch(conditional):
    layer = built_layer(conditional)
    layer.evaluation_statistics = "accumulate"
    layer.accumulation_weight = 0.25
    old_mean, old_variance = layer.moving_mean.numpy(), layer.moving_variance.numpy()
    x = images().astype(np.float64)
    expected = reference.batch_norm(images(), *affine(layer, conditional))
    # In a graph, where nothing but the assignments' side effect asks for them.
    outputs = tf.function(lambda: call(layer, conditional))()
    assert reference.relative_error(outputs, expected) < 1e-5
    np.testing.assert_allclose(layer.moving_mean, old_mean + 0.25 * x.mean((0, 1, 2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.moving_variance, old_variance + 0.25 * x.var((0, 1, 2)), rtol=1e-5)


@both_forms
@pytest.mark.parametrize("mode", ["batch", "accumulate"])
def test_what_evaluation_uses_does_not_touch_training(conditional, mode):
    layer, other = built_layer(conditional), built_layer(conditional)
    other.evaluation_statistics = mode
    other.accumulation_weight = 0.5
    outputs, other_outputs = (call(each, conditional, training=True) for each in (layer, other))
    np.testing.assert_array_equal(outputs, other_outputs)
    for value, other_value in zip(layer.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(value, other_value)


def test_what_evaluation_uses_is_a_mode_and_not_configuration():
    layer = built_layer(conditional=False)
    config = layer.get_config()
    layer.evaluation_statistics = "batch"
    assert layer.get_config() == config
    assert BatchNormalization.from_config(config).evaluation_statistics == "moving"
    layer.evaluation_statistics = "bach"
    with pytest.raises(ValueError, match=r"must be one of .*, received 'bach'"):
        layer(images())


def test_all_batch_normalisations_of_a_network_are_found():
    block = GeneratorBlock(4, num_classes=NUM_CLASSES)
    assert batch_normalization_layers(block) == [block.norm1, block.norm2]
    hamburger = Hamburger(latent_dim=6, rank=2, batch_norm="plain")
    hamburger.build(SHAPE)
    assert batch_normalization_layers(hamburger) == [hamburger.normalization]


@both_forms
@pytest.mark.parametrize("momentum", [None, 0.9])
def test_training_moves_the_averages_by_one_minus_the_decay(conditional, momentum):
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


def test_labels_pick_gamma_and_beta_but_do_not_change_the_statistics():
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
    # Rounding of E[x^2] - E[x]^2 at 1e6 is what the clip at zero is for.
    assert np.abs(outputs).max() < 10


def test_arguments_and_shapes_are_checked():
    with pytest.raises(ValueError, match=r"momentum must be in \[0, 1\)"):
        BatchNormalization(momentum=1.0)
    with pytest.raises(ValueError, match="num_classes must be positive"):
        ConditionalBatchNormalization(0)
    with pytest.raises(ValueError, match=r"expects \(batch, height, width, channels\)"):
        BatchNormalization().build((None, 4))
