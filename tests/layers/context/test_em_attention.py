import module_checks
import numpy as np
import pytest
import tensorflow as tf
from golden_files import check, load, load_weights, relative
from keras import ops
from published_batch_norm import batch_norm_names, published_residual
from replica_of_two import ReplicaOfTwo

from hamgan.layers import EMAttention

GRADIENTS = {"emau_train": "none", "emau_eval": "none", "emau_unrolled_train": "unrolled"}


def module(dtype="float64", **arguments):
    return EMAttention(**{"num_bases": 6, **arguments}, spectral_norm=False, dtype=dtype)


def published(dtype, gradient, **arguments):
    return module(dtype, gradient=gradient, batch_norm="plain", batch_norm_momentum=1 - 3e-4, **arguments)


def names(golden):
    return {
        "conv1.weight": "conv_in.kernel",
        "conv1.bias": "conv_in.bias",
        "conv2.0.weight": "conv_out.kernel",
        "mu": ("running_bases", lambda bases: bases[0]),
        **batch_norm_names(golden, kept=1 - 3e-4),
    }


def iterate(features, bases, num_steps):
    """The responsibilities and the final bases of one image."""
    for _ in range(num_steps):
        z = module_checks.softmax(features @ bases, axis=1)
        bases = features.T @ (z / (1e-6 + z.sum(0)))
        bases = bases / (1e-6 + np.linalg.norm(bases, axis=0))
    return z, bases


def factors(layer, x):
    features = module_checks.conv(layer.conv_in, x).reshape(len(x), -1, x.shape[-1])
    running = ops.convert_to_numpy(layer.running_bases)
    return [iterate(image, running, layer.num_steps) for image in features]


def context(layer, x):
    outputs = np.stack([np.maximum(z @ bases.T, 0) for z, bases in factors(layer, x)])
    return module_checks.conv(layer.conv_out, outputs.reshape(x.shape))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", GRADIENTS)
def test_matches_the_published_code(name, dtype):
    """The published unit is relu(x + branch); its running bases and moving averages are compared, too."""
    check(
        name,
        lambda dtype: published(dtype, GRADIENTS[name]),
        names(load(name)),
        output=published_residual,
        dtype=dtype,
    )


def test_running_bases_become_the_mean_final_bases_without_momentum():
    golden = load("emau_train")
    layer = load_weights(published("float64", "none", bases_momentum=0.0), golden, names(golden))
    layer(tf.constant(golden.x), training=True)
    assert relative(layer.running_bases, golden.others["mu_final"].mean(0)) < 1e-12


@pytest.mark.parametrize("num_steps", [1, 3])
def test_matches_the_equations(num_steps):
    module_checks.check_reference(module(num_steps=num_steps, gradient="unrolled"), context)


def test_unrolled_gradients_match_finite_differences():
    module_checks.check_gradients(module(gradient="unrolled"))


def gradients(layer, x):
    x = tf.constant(x)
    sources = [layer.conv_in.kernel.value, layer.conv_in.bias.value, layer.conv_out.kernel.value]
    upstream = np.random.default_rng(5).normal(size=x.shape)
    with tf.GradientTape() as tape:
        tape.watch([x, *sources])
        outputs = layer(x)
    return outputs, tape.gradient(outputs, [x, *sources], upstream, unconnected_gradients="zero")


def copy_with(layer, x, **arguments):
    """A module with the weights of another one."""
    copy = EMAttention.from_config({**layer.get_config(), **arguments})
    copy.build(x.shape)
    for name in ("conv_in.kernel", "conv_in.bias", "conv_out.kernel", "running_bases", "sigma"):
        owner, _, attribute = name.rpartition(".")
        source, target = ((getattr(m, owner) if owner else m) for m in (layer, copy))
        getattr(target, attribute).assign(getattr(source, attribute))
    return copy


def test_one_step_gradient_is_that_of_the_last_iteration():
    x = module_checks.images()[:1]
    layer = module_checks.randomized(module(gradient="one_step"), x)
    outputs, actual = gradients(layer, x)
    last = copy_with(layer, x, num_steps=1, gradient="unrolled")
    features = module_checks.conv(layer.conv_in, x)[0].reshape(-1, x.shape[-1])
    last.running_bases.assign(iterate(features, ops.convert_to_numpy(layer.running_bases), layer.num_steps - 1)[1])
    expected_outputs, expected = gradients(last, x)
    assert relative(outputs, expected_outputs) < 1e-12
    for gradient, expected_gradient in zip(actual, expected, strict=True):
        assert relative(gradient, expected_gradient) < 1e-12
    _, unrolled = gradients(copy_with(layer, x, gradient="unrolled"), x)
    assert relative(actual[0], unrolled[0]) > 1e-3


def test_without_gradient_the_branch_is_constant_and_conv_in_is_not_trained():
    x = module_checks.images()
    layer = module_checks.randomized(module(), x)
    _, (to_inputs, to_kernel, to_bias, to_conv_out) = gradients(layer, x)
    np.testing.assert_array_equal(to_inputs, np.random.default_rng(5).normal(size=x.shape))
    assert not np.any(to_kernel)
    assert not np.any(to_bias)
    assert np.any(to_conv_out)
    trainable = {weight.path for weight in layer.trainable_weights}
    assert trainable == {layer.conv_out.kernel.path, layer.sigma.path}


def test_running_bases_move_in_training_only_and_are_not_normalized_again():
    x = module_checks.images()
    layer = module_checks.randomized(module(), x)
    start = ops.convert_to_numpy(layer.running_bases)
    np.testing.assert_allclose(np.linalg.norm(start, axis=0), 1, rtol=1e-6)
    layer(tf.constant(x))
    np.testing.assert_array_equal(layer.running_bases, start)
    expected = 0.9 * start + 0.1 * np.mean([bases for _, bases in factors(layer, x)], axis=0)
    layer(tf.constant(x), training=True)
    assert relative(layer.running_bases, expected) < 1e-12
    assert np.linalg.norm(layer.running_bases, axis=0).max() < 0.999
    layer(tf.constant(x[:0]), training=True)
    assert relative(layer.running_bases, expected) < 1e-12


def test_running_bases_move_towards_the_mean_over_all_replicas(monkeypatch):
    """Two images on one replica and one on the other; each has the same weight."""
    x = module_checks.images()
    alone = module_checks.randomized(module(), x)
    first, second = (copy_with(alone, x) for _ in range(2))
    alone(tf.constant(x), training=True)
    other = ReplicaOfTwo()
    monkeypatch.setattr("tensorflow.distribute.get_replica_context", lambda: other)
    second(tf.constant(x[2:]), training=True)
    replica = ReplicaOfTwo(others=other.own)
    monkeypatch.setattr("tensorflow.distribute.get_replica_context", lambda: replica)
    first(tf.constant(x[:2]), training=True)
    assert relative(first.running_bases, alone.running_bases) < 1e-12
    assert relative(first.running_bases, second.running_bases) > 1e-4


def test_gradient_of_a_blank_image_is_finite():
    x = np.zeros((1, 4, 6, 8))
    layer = module(gradient="unrolled")
    layer.build(x.shape)
    layer.sigma.assign(1.0)
    for gradient in gradients(layer, x)[1]:
        assert np.isfinite(gradient).all()


def test_invalid_arguments_are_refused():
    with pytest.raises(ValueError, match="num_bases and num_steps must be positive, received 0 and 3"):
        EMAttention(num_bases=0)
    with pytest.raises(ValueError, match=r"bases_momentum must be in \[0, 1\), received 1"):
        EMAttention(bases_momentum=1.0)
    with pytest.raises(ValueError, match=r"gradient must be one of .*, received 'all'"):
        EMAttention(gradient="all")
