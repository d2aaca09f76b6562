import float64_reference as reference
import numpy as np
import pytest

from hamgan.layers import BatchNormalization, ConditionalBatchNormalization

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
@pytest.mark.parametrize("arguments", [{}, {"training": False}])
def test_evaluation_normalises_by_the_moving_statistics_and_keeps_them(conditional, arguments):
    layer = built_layer(conditional)
    mean, variance = layer.moving_mean.numpy(), layer.moving_variance.numpy()
    expected = reference.batch_norm(images(), *affine(layer, conditional), mean, variance)
    assert reference.relative_error(call(layer, conditional, **arguments), expected) < 1e-5
    np.testing.assert_array_equal(layer.moving_mean, mean)
    np.testing.assert_array_equal(layer.moving_variance, variance)


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
