import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from hamgan import architecture, random_streams
from hamgan.config import CONTEXT_CONFIGS
from hamgan.layers.hams import HAMS
from hamgan.networks import Discriminator, Generator
from hamgan.networks.context import CONTEXT_MODULES
from hamgan.random_streams import Purpose

NUM_CLASSES, BATCH, Z_DIM = 3, 2, 8
LABELS = np.array([2, 0])
HAM = {"latent_dim": 4, "rank": 2, "num_steps": 1, "seed": 0}
HAM_V2 = {**HAM, "version": "v2", "ham": "cd", "num_sections": 2}


def generator(resolution=32, **arguments):
    arguments = {"base_channels": 2, "z_dim": Z_DIM, **arguments}
    return Generator(resolution=resolution, num_classes=NUM_CLASSES, **arguments)


def discriminator(resolution=32, **arguments):
    return Discriminator(resolution=resolution, num_classes=NUM_CLASSES, **{"base_channels": 2, **arguments})


def latents():
    return np.random.default_rng(0).normal(size=(BATCH, Z_DIM)).astype(np.float32)


def images(resolution=32):
    return np.random.default_rng(1).uniform(-1, 1, (BATCH, resolution, resolution, 3)).astype(np.float32)


def hamburger(resolution, **settings):
    return {"module": "hamburger", "resolution": resolution, **(settings or HAM)}


def bases_of(network):
    return network.draw_initial_bases(random_streams.fold(2), Purpose.GENERATOR_BASES, first=0, count=BATCH)


def num_parameters(model):
    return sum(weight.shape.num_elements() for weight in model.trainable_weights)


@pytest.mark.slow
def test_published_networks_have_the_published_number_of_parameters():
    published = {"resolution": 128, "num_classes": 1000, "base_channels": 64}
    assert num_parameters(Generator(**published, context=[hamburger(32, latent_dim=256, rank=32)])) == 42_640_004
    assert num_parameters(Discriminator(**published, context=[hamburger(32, latent_dim=128, rank=16)])) == 39_475_906


# Hamburgers in both networks, in one, and in none, at different resolutions.
PLACEMENTS = [(32, 8, 16), (32, None, 4), (64, 64, None), (64, 16, 32), (128, None, None), (128, 32, 16), (256, 8, 128)]


@pytest.mark.parametrize(("resolution", "in_generator", "in_discriminator"), PLACEMENTS)
def test_networks_run_with_and_without_hamburger(resolution, in_generator, in_discriminator):
    make_images, judge = (
        make(resolution, context=[] if size is None else [hamburger(size)])
        for make, size in ((generator, in_generator), (discriminator, in_discriminator))
    )
    for training in (False, True):
        fakes = make_images(latents(), LABELS, training=training)
        assert fakes.shape == (BATCH, resolution, resolution, 3)
        assert fakes.dtype == tf.float32
        assert np.abs(fakes).max() <= 1
        assert np.std(fakes) > 0
        logits = judge(fakes, LABELS, training=training)
        assert logits.shape == (BATCH, 1)
        assert logits.dtype == tf.float32
        assert np.isfinite(logits).all()
        assert make_images.compute_output_shape((BATCH, Z_DIM)) == fakes.shape
        assert judge.compute_output_shape(fakes.shape) == logits.shape


@pytest.mark.parametrize("make", [generator, discriminator])
@pytest.mark.parametrize("size", [8, 16])
def test_hamburger_processes_features_of_its_resolution(make, size):
    network = make(context=[hamburger(size)])
    network.context[0].sigma.assign(1.0)
    seen = []
    call = network.context[0].call

    def spy(inputs, *args, **kwargs):
        seen.append(inputs.shape)
        return call(inputs, *args, **kwargs)

    network.context[0].call = spy
    network(latents() if make is generator else images(), LABELS)
    stages = (architecture.generator_stages if make is generator else architecture.discriminator_stages)(32)
    assert seen == [(BATCH, size, size, 2 * dict(stages)[size])]


@pytest.mark.parametrize("make", [generator, discriminator])
@pytest.mark.parametrize("resolution", [0, 16, 48, 512])
def test_other_resolutions_are_rejected(make, resolution):
    with pytest.raises(ValueError, match=f"resolution must be one of .*received {resolution}"):
        make(resolution)


@pytest.mark.parametrize(("make", "size"), [(generator, 4), (generator, 64), (discriminator, 32), (discriminator, 2)])
def test_hamburger_at_a_resolution_of_no_block_is_rejected(make, size):
    with pytest.raises(ValueError, match=f"context resolution must be one of .*received {size}"):
        make(32, context=[hamburger(size)])


@pytest.mark.parametrize("make", [generator, discriminator])
@pytest.mark.parametrize("settings", [HAM, HAM_V2])
def test_weight_paths_are_unique(make, settings):
    attention = {"module": "self_attention", "resolution": 8}
    network = make(base_channels=4, context=[hamburger(16, **settings), hamburger(8), attention])
    paths = [weight.path for weight in network.weights]
    assert len(paths) > 20
    assert len(set(paths)) == len(paths)


def test_weights_exist_after_construction():
    for network, inputs in ((generator(), latents()), (discriminator(), images())):
        paths = [weight.path for weight in network.weights]
        network(inputs, LABELS)
        assert [weight.path for weight in network.weights] == paths


def test_only_the_generator_has_batch_normalisation():
    make_images, judge = (make(context=[hamburger(16)]) for make in (generator, discriminator))
    assert make_images.context[0].batch_norm == "conditional"
    assert judge.context[0].batch_norm is None
    assert any("moving_mean" in weight.path for weight in make_images.weights)
    assert not any("moving_mean" in weight.path for weight in judge.weights)


@pytest.mark.parametrize("make", [generator, discriminator])
@pytest.mark.parametrize("settings", [None, HAM, HAM_V2])
def test_config_round_trip_gives_the_same_network(make, settings):
    network = make(context=[] if settings is None else [hamburger(16, **settings)])
    inputs = latents() if make is generator else images()
    initial_bases = None
    if settings is not None:
        network.context[0].sigma.assign(0.5)
        initial_bases = bases_of(network)
    expected = network(inputs, LABELS, initial_bases=initial_bases)
    serialized = keras.saving.serialize_keras_object(network)
    for copy in (type(network).from_config(network.get_config()), keras.saving.deserialize_keras_object(serialized)):
        assert copy.get_config() == network.get_config()
        copy.set_weights(network.get_weights())
        np.testing.assert_array_equal(copy(inputs, LABELS, initial_bases=initial_bases), expected)


def test_gray_networks_differ_in_their_outermost_convolutions():
    make_images, judge = generator(channels=1), discriminator(channels=1)
    fakes = make_images(latents(), LABELS)
    assert fakes.shape == make_images.compute_output_shape((BATCH, Z_DIM)) == (BATCH, 32, 32, 1)
    assert judge(fakes, LABELS).shape == (BATCH, 1)
    assert judge.input_signature()[0].shape == (None, 32, 32, 1)
    with pytest.raises(ValueError, match="shape"):
        judge(images(), LABELS)
    for gray, rgb in ((make_images, generator()), (judge, discriminator())):
        shapes = {weight.path: weight.shape for weight in gray.weights}
        assert shapes.keys() == {weight.path for weight in rgb.weights}
        changed = {weight.path.split("/", 1)[1] for weight in rgb.weights if shapes[weight.path] != weight.shape}
        outermost = ("to_rgb/",) if gray is make_images else ("block1/conv1/", "block1/shortcut/")
        assert changed
        assert all(path.startswith(outermost) for path in changed)
        copy = type(gray).from_config(gray.get_config())
        assert copy.channels == 1
        assert type(rgb).from_config({k: v for k, v in rgb.get_config().items() if k != "channels"}).channels == 3
    with pytest.raises(ValueError, match=r"channels must be 1 \(gray\) or 3 \(RGB\), received 2"):
        generator(channels=2)


@pytest.mark.parametrize("make", [generator, discriminator])
def test_only_training_calls_change_state(make):
    network = make(context=[hamburger(16)])
    inputs = latents() if make is generator else images()
    before = network.get_weights()
    network(inputs, LABELS)
    network(inputs, LABELS, training=False)
    for value, expected in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, expected)
    network(inputs, LABELS, training=True)
    for weight, old in zip(network.weights, before, strict=True):
        assert (np.abs(weight.numpy() - old).max() > 0) == (not weight.trainable), weight.path


CONTEXT = [hamburger(16), {"module": "self_attention", "resolution": 8}, hamburger(8, latent_dim=6, rank=3)]


@pytest.mark.parametrize("make", [generator, discriminator])
def test_several_context_modules_work_in_the_order_of_their_resolutions(make):
    network = make(base_channels=4, context=CONTEXT)
    assert [module.name for module in network.context] == ["hamburger", "self_attention", "hamburger_2"]
    inputs, initial_bases = (latents() if make is generator else images()), bases_of(network)
    assert [bases.shape for bases in initial_bases] == [(BATCH, 4, 2), (BATCH, 6, 3)]
    outputs = [network(inputs, LABELS, initial_bases=initial_bases)]
    for module in network.context:
        module.sigma.assign(1.0)
        outputs.append(network(inputs, LABELS, initial_bases=initial_bases))
        assert np.abs(outputs[-1] - outputs[-2]).max() > 1e-4
    # Each module receives its own bases.
    for index in range(2):
        changed = [bases + 0.5 * (index == place) for place, bases in enumerate(initial_bases)]
        assert np.abs(network(inputs, LABELS, initial_bases=changed) - outputs[-1]).max() > 1e-6
    copy = type(network).from_config(network.get_config())
    copy.set_weights(network.get_weights())
    np.testing.assert_array_equal(copy(inputs, LABELS, initial_bases=initial_bases), outputs[-1])


@pytest.mark.parametrize("make", [generator, discriminator])
def test_initial_bases_for_another_number_of_modules_are_rejected(make):
    network, inputs = make(context=[hamburger(16)]), latents() if make is generator else images()
    (bases,) = bases_of(network)
    np.testing.assert_array_equal(
        network(inputs, LABELS, initial_bases=bases), network(inputs, LABELS, initial_bases=[bases])
    )
    with pytest.raises(ValueError, match="1 context modules with bases and expects initial_bases for each, received 2"):
        network(inputs, LABELS, initial_bases=[bases, bases])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"module": "humburger", "resolution": 16}, "context module must be one of .*received 'humburger'"),
        ({"module": "hamburger", "latent_dim": 4, "rank": 2}, "needs a resolution"),
    ],
)
def test_invalid_context_modules_are_rejected(settings, message):
    with pytest.raises(ValueError, match=message):
        generator(context=[settings])


@pytest.mark.parametrize("make", [generator, discriminator])
def test_configs_with_a_single_hamburger_are_accepted(make):
    network = make(context=[hamburger(16)])
    old = network.get_config()
    (module,) = old.pop("context")
    old.update(hamburger={key: value for key, value in module.items() if key not in ("module", "resolution")})
    old.update(hamburger_resolution=16)
    if make is generator:
        old.update(recomputed_blocks=2)
    assert type(network).from_config(old).get_config() == network.get_config()
    without = type(network).from_config({**old, "hamburger": None})
    assert without.context == ()


def test_context_modules_match_their_configs():
    assert CONTEXT_MODULES.keys() == CONTEXT_CONFIGS.keys()
    for name, config in CONTEXT_CONFIGS.items():
        arguments = dataclasses.asdict(config())
        assert arguments.pop("module") == name
        del arguments["resolution"]
        CONTEXT_MODULES[name](**arguments)


@pytest.mark.parametrize("make", [generator, discriminator])
def test_labels_change_the_output(make):
    network = make()
    inputs = latents() if make is generator else images()
    for weight in network.weights:
        if weight.name in ("gamma", "beta"):
            weight.assign(np.random.default_rng(3).normal(size=weight.shape))
    one, other = (network(inputs, np.full(BATCH, label)).numpy() for label in (0, 1))
    assert np.abs(one - other).max() > 1e-4


def conditional_generator(**arguments):
    """A generator whose classes, and the bases of its Hamburger, have an effect."""
    network = generator(context=[hamburger(16)], **arguments)
    network.context[0].sigma.assign(1.0)
    for weight in network.weights:
        if weight.name in ("gamma", "beta"):
            weight.assign(np.random.default_rng(3).normal(size=weight.shape))
    return network


def test_one_hot_class_weights_give_the_images_of_the_labels():
    network = conditional_generator()
    bases = bases_of(network)
    expected = network(latents(), LABELS, initial_bases=bases)
    weights = np.eye(NUM_CLASSES, dtype=np.float32)[LABELS]
    for labels in (None, np.array([1, 1])):
        found = network(latents(), labels, initial_bases=bases, class_weights=weights)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    mixed = network(latents(), initial_bases=bases, class_weights=weights / 2 + 0.5 / NUM_CLASSES)
    assert np.abs(mixed - expected).max(axis=(1, 2, 3)).min() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["graph", "xla"])
def test_compiled_images_of_mixed_classes_agree_with_eager_ones(mode):
    network = conditional_generator()
    bases = bases_of(network)
    weights = np.random.default_rng(5).dirichlet(np.ones(NUM_CLASSES), BATCH).astype(np.float32)

    def generate(z, class_weights):
        return network(z, initial_bases=bases, class_weights=class_weights)

    compiled = tf.function(generate, jit_compile=mode == "xla")
    np.testing.assert_allclose(compiled(latents(), weights), generate(latents(), weights), rtol=0, atol=1e-5)


def test_the_gradient_with_respect_to_class_weights_matches_finite_differences():
    network = conditional_generator(dtype="float64")
    # The gradient of a Hamburger is approximate.
    network.context[0].sigma.assign(0.0)
    start = np.random.default_rng(5).dirichlet(np.ones(NUM_CLASSES), BATCH)
    target = tf.constant(images(), tf.float64)

    def loss(weights):
        return tf.reduce_sum((network(latents(), class_weights=weights) - target) ** 2)

    weights = tf.constant(start)
    with tf.GradientTape() as tape:
        tape.watch(weights)
        value = loss(weights)
    # Rows must still sum to 1.
    direction = np.array([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0]])
    found = np.sum(tape.gradient(value, weights) * direction)
    step = 1e-6
    above, below = (float(loss(tf.constant(start + sign * step * direction))) for sign in (1, -1))
    assert found == pytest.approx((above - below) / (2 * step), rel=1e-5)


def test_invalid_class_weights_are_rejected():
    network = generator()
    with pytest.raises(ValueError, match=r"generator expects class_weights of shape \(2, 3\), received \(1, 3\)"):
        network(latents(), class_weights=np.eye(NUM_CLASSES, dtype=np.float32)[:1])
    with pytest.raises(ValueError, match="generator expects class_weights whose rows sum to 1, received a sum of 2"):
        network(latents(), class_weights=2 * np.eye(NUM_CLASSES, dtype=np.float32)[LABELS])
    with pytest.raises(ValueError, match="generator expects labels or class_weights, received neither"):
        network(latents())


def test_class_weights_of_keras_inputs_give_the_same_images():
    network = conditional_generator(dtype="mixed_bfloat16")
    weights = np.random.default_rng(5).dirichlet(np.ones(NUM_CLASSES), BATCH).astype(np.float32)
    z, symbolic = keras.Input((Z_DIM,)), keras.Input((NUM_CLASSES,))
    bases = [keras.Input(bases.shape[1:]) for bases in bases_of(network)]
    model = keras.Model([z, symbolic, *bases], network(z, initial_bases=bases, class_weights=symbolic))
    expected = network(latents(), class_weights=weights, initial_bases=bases_of(network))
    inputs = [tf.constant(latents()), tf.constant(weights), *bases_of(network)]
    np.testing.assert_array_equal(model(inputs), expected)


def test_stages_at_resolution_128_match_the_paper():
    assert architecture.generator_stages(128) == [(4, 16), (8, 16), (16, 8), (32, 4), (64, 2), (128, 1)]
    assert architecture.discriminator_stages(128) == [(64, 1), (32, 2), (16, 4), (8, 8), (4, 16)]


@pytest.mark.parametrize("resolution", architecture.RESOLUTIONS)
def test_stages_double_in_size_from_4_to_the_resolution_and_never_exceed_16_times_the_width(resolution):
    to_image = architecture.generator_stages(resolution)
    to_logit = architecture.discriminator_stages(resolution)
    sizes = [4 * 2**i for i in range(len(to_image))]
    assert [size for size, _ in to_image] == sizes
    assert sizes[-1] == resolution
    assert [size for size, _ in to_logit] == sizes[-2::-1]
    assert to_image[-1] == (resolution, 1)
    assert to_logit[0] == (resolution // 2, 1)
    for widths in ([m for _, m in reversed(to_image)], [m for _, m in to_logit]):
        assert widths == [min(16, 2**i) for i in range(len(widths))]


def test_names_of_hams_match_the_layers():
    assert set(architecture.HAM_NAMES) == set(HAMS)


@pytest.mark.parametrize("make", [generator, discriminator])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_labels_of_keras_inputs_give_the_same_results(make, policy):
    num_classes = 990
    arguments = {"resolution": 32, "num_classes": num_classes, "base_channels": 2, "dtype": policy}
    network = Generator(z_dim=Z_DIM, **arguments) if make is generator else Discriminator(**arguments)
    for weight in network.weights:
        if weight.name in ("gamma", "embeddings"):
            weight.assign(np.random.default_rng(3).normal(size=weight.shape))
    inputs = latents() if make is generator else images()
    labels = np.array([987, 501])
    expected = network(inputs, labels)
    symbolic = [keras.Input(inputs.shape[1:]), keras.Input((1,))]
    model = keras.Model(symbolic, network(*symbolic))
    assert model.output_shape[1:] == expected.shape[1:]
    np.testing.assert_array_equal(model([inputs, labels[:, None].astype(np.float32)]), expected)
    np.testing.assert_array_equal(network(inputs, labels.astype(np.float32)), expected)


@pytest.mark.parametrize("make", [generator, discriminator])
def test_inputs_that_would_broadcast_are_rejected(make):
    network = make()
    inputs = latents() if make is generator else images()
    for labels in (np.array([1]), np.array([[1, 2]]), np.array(1), np.array([0, 1, 2])):
        with pytest.raises(ValueError, match=rf"{network.name} expects labels of shape \(2,\) or \(2, 1\), received"):
            network(inputs, labels)
    for wrong in (-1, NUM_CLASSES):
        with pytest.raises(ValueError, match=rf"{network.name} expects labels in \[0, 3\), received {wrong}"):
            network(inputs, np.array([0, wrong]))
    wrong_inputs = [inputs[..., :-1], inputs[:, None], inputs[0]] + ([] if make is generator else [images(64)])
    for wrong in wrong_inputs:
        with pytest.raises(ValueError, match=r"^Input 0 .* is incompatible with the layer"):
            network(wrong, LABELS)


def penalty_gradients(network, inputs):
    """Gradients of sum((d sum(y^2) / d inputs)^2) with respect to the weights, by name."""
    inputs = tf.constant(inputs, tf.float64)
    weights = {weight.path: weight.value for weight in network.trainable_weights}
    initial_bases = bases_of(network)
    with tf.GradientTape() as tape:
        with tf.GradientTape() as inner:
            inner.watch(inputs)
            outputs = network(inputs, LABELS, training=True, initial_bases=initial_bases)
            value = tf.reduce_sum(outputs**2)
        penalty = tf.reduce_sum(inner.gradient(value, inputs) ** 2)
    return tape.gradient(penalty, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)


@pytest.mark.parametrize("make", [generator, discriminator])
def test_gradient_penalties_do_not_depend_on_the_convolution_form(make):
    inputs = latents() if make is generator else images()
    found, state = {}, None
    for form in ("plain", "strided", "products"):
        network = make(convolution_form=form, context=[hamburger(16)], dtype="float64")
        if state is None:
            network.context[0].sigma.assign(0.7)
            state = network.get_weights()
        network.set_weights(state)
        found[form] = penalty_gradients(network, inputs)
    expected = found.pop("plain")
    largest = max(np.abs(gradient).max() for gradient in expected.values())
    assert np.abs(expected[f"{network.name}/block1/conv2/kernel"]).max() > 1e-3 * largest
    for form, gradients in found.items():
        for path, gradient in gradients.items():
            np.testing.assert_allclose(
                gradient, expected[path], rtol=1e-7, atol=1e-9 * largest, err_msg=f"{form} {path}"
            )


def test_gradient_penalty_of_the_discriminator_matches_finite_differences():
    network = discriminator(dtype="float64")
    kernel = network.blocks[1].conv2.kernel
    direction = np.random.default_rng(4).normal(size=kernel.shape)
    inputs = tf.constant(images(), tf.float64)

    def penalty():
        with tf.GradientTape() as inner:
            inner.watch(inputs)
            value = tf.reduce_sum(network(inputs, LABELS))
        return tf.reduce_sum(inner.gradient(value, inputs) ** 2)

    # Kernels with a norm below 1 are not scaled, so the singular vectors, which are constants, do not matter.
    kernel.assign(kernel * 0.01)
    with tf.GradientTape() as tape:
        loss = penalty()
    found = np.sum(tape.gradient(loss, kernel.value) * direction)
    step = 1e-7 * np.linalg.norm(kernel)
    start, values = kernel.numpy(), []
    for sign in (1, -1):
        kernel.assign(start + sign * step * direction)
        values.append(float(penalty()))
    assert found == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5)
