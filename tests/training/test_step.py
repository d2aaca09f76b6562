import keras
import numpy as np
import pytest
import tensorflow as tf

from hamgan import random_streams
from hamgan.config import override
from hamgan.errors import UserError
from hamgan.layers.execution import execution
from hamgan.runs.checkpoints import latest_checkpoint, restore
from hamgan.runs.directory import RunDirectory
from hamgan.sampling.sampler import Sampler
from hamgan.training.adam import FusedAdam
from hamgan.training.gan import train
from hamgan.training.state import TrainState
from hamgan.training.step import METRIC_NAMES, TrainStep
from hamgan.training.train_function import make_train_function

pytestmark = pytest.mark.usefixtures("eager")


def _batches(config, count=8):
    rng = np.random.default_rng(0)
    batch = config.train.global_batch
    images = rng.uniform(-1, 1, (count * batch, 32, 32, 3)).astype(np.float32)
    labels = rng.integers(0, 10, count * batch).astype(np.int32)
    return tf.data.Dataset.from_tensor_slices((images, labels)).batch(batch, drop_remainder=True).repeat()


def _enable_context(state):
    # sigma is 0 at first, which would hide the Hamburgers.
    for network in (state.generator, state.discriminator):
        network.context[0].sigma.assign(0.5)


def _weights(network):
    return {variable.path: variable.numpy() for variable in network.weights}


def _changed(before, after):
    return {path for path in before if not np.array_equal(before[path], after[path])}


def _train(config, strategy, num_steps):
    with strategy.scope():
        state = TrainState(config)
    _enable_context(state)
    take_steps = make_train_function(TrainStep(state, config, strategy), strategy)
    iterator = iter(strategy.experimental_distribute_dataset(_batches(config)))
    taken = take_steps(iterator, tf.constant(num_steps), random_streams.run_stream(config.train.seed))
    assert int(taken.count) == num_steps
    assert int(taken.failed_step) == -1
    assert bool(taken.weights_are_finite)
    return state, {name: float(value) for name, value in taken.metrics.items()}


# Reads the graph, because the order decides how much memory a step needs, and nothing else shows it on a CPU.
@pytest.mark.slow
def test_updates_start_after_the_gradients_of_the_previous_update(tiny):
    config = override(tiny, ["train.discriminator_updates=2"])
    step = TrainStep(TrainState(config), config, tf.distribute.get_strategy())
    batches = tuple(next(iter(_batches(config))) for _ in range(2))
    graph = tf.function(step).get_concrete_function(batches, tf.constant(0, tf.int64), tf.constant([1, 2])).graph

    def gradients_before(operation):
        """The number of filter gradients that an operation depends on."""
        found, waiting = set(), [operation]
        while waiting:
            operation = waiting.pop()
            if operation.name not in found:
                found.add(operation.name)
                waiting += [tensor.op for tensor in operation.inputs]
        return sum("Conv2DBackpropFilter" in name for name in found)

    drawn = [operation for operation in graph.get_operations() if operation.type == "StatelessRandomUniformIntV2"]
    first, second, generators = (gradients_before(operation) for operation in drawn)  # The labels of each update.
    assert first == 0
    assert second > 10
    assert generators == 2 * second


def _take_one_step(config, *, discriminator_learning_rate=None, generator_learning_rate=None):
    """Takes one step from the same weights each time, and returns the state and the weights before the step."""
    state = TrainState(config)
    _enable_context(state)
    for optimizer, learning_rate in (
        (state.discriminator_optimizer, discriminator_learning_rate),
        (state.generator_optimizer, generator_learning_rate),
    ):
        if learning_rate is not None:
            optimizer.learning_rate = learning_rate
    before = _weights(state.generator), _weights(state.discriminator)
    batches = tuple(_batches(config).take(config.train.discriminator_updates))
    step = TrainStep(state, config, tf.distribute.get_strategy())
    step(batches, tf.constant(0), random_streams.run_stream(0))
    return state, *before


def test_discriminator_updates_leave_the_generators_weights(tiny):
    state, generator, discriminator = _take_one_step(tiny, generator_learning_rate=0.0)
    trainable = {variable.path for variable in state.generator.trainable_variables}
    assert not _changed(generator, _weights(state.generator)) & trainable
    kernels = {path for path in discriminator if path.endswith("kernel")}
    assert kernels <= _changed(discriminator, _weights(state.discriminator))


def test_generator_updates_leave_all_state_of_the_discriminator(tiny):
    # The discriminator is updated first, so further generator updates must not change it.
    (once, _, _), (thrice, generator, _) = (
        _take_one_step(override(tiny, [f"train.generator_updates={updates}"])) for updates in (1, 3)
    )
    assert not _changed(_weights(once.discriminator), _weights(thrice.discriminator))
    kernels = {path for path in generator if path.endswith("kernel")}
    assert kernels <= _changed(_weights(once.generator), _weights(thrice.generator))
    assert kernels <= _changed(generator, _weights(once.generator))


def test_labels_of_fakes_are_drawn_by_the_class_counts(tiny):
    state = TrainState(tiny)
    _enable_context(state)
    before = state.generator.blocks[0].norm1.gamma.numpy()
    counts = [0, 5, 0, 1, 0, 0, 0, 0, 0, 0]
    step = TrainStep(state, tiny, tf.distribute.get_strategy(), counts)
    step(tuple(_batches(tiny).take(1)), tf.constant(0), random_streams.run_stream(0))
    changed = np.flatnonzero((state.generator.blocks[0].norm1.gamma.numpy() != before).any(axis=1))
    assert 1 in changed
    assert set(changed) <= {1, 3}


def test_a_step_takes_the_configured_number_of_updates(tiny):
    config = override(tiny, ["train.discriminator_updates=2", "train.generator_updates=3"])
    state = TrainState(config)
    images, labels = next(iter(_batches(config)))
    TrainStep(state, config, tf.distribute.get_strategy())(
        ((images, labels), (images, labels)), tf.constant(0), random_streams.run_stream(0)
    )
    assert int(state.discriminator_optimizer.iterations.numpy()) == 2
    assert int(state.generator_optimizer.iterations.numpy()) == 3


def test_every_update_of_every_step_draws_new_inputs(tiny):
    config = override(tiny, ["train.discriminator_updates=2", "train.generator_updates=2"])
    state = TrainState(config)
    draw_inputs, drawn = state.generator.draw_inputs, []

    def spy(*args, **kwargs):
        drawn.append(draw_inputs(*args, **kwargs))
        return drawn[-1]

    state.generator.draw_inputs = spy
    step = TrainStep(state, config, tf.distribute.get_strategy())
    for number in range(2):
        step(tuple(_batches(config).take(2)), tf.constant(number), random_streams.run_stream(0))
    assert len(drawn) == 2 * (2 + 2)
    for tensors in (
        [inputs.z.numpy() for inputs in drawn],
        [inputs.initial_bases[0].numpy() for inputs in drawn],
    ):
        rows = np.concatenate(tensors).reshape(len(drawn) * config.train.global_batch, -1)
        assert len(np.unique(rows, axis=0)) == len(rows)


def test_the_average_follows_the_generator(tiny):
    state, _, _ = _take_one_step(override(tiny, ["train.ema_warmup=4"]))
    fresh = TrainState(tiny)
    _enable_context(fresh)
    initial = _weights(fresh.ema_generator)
    for average, weight in zip(state.ema_generator.weights, state.generator.weights, strict=True):
        decay = 1 / 4 if weight.trainable else 0.0  # the warm-up's first step
        expected = decay * initial[average.path] + (1 - decay) * weight.numpy()
        np.testing.assert_allclose(average.numpy(), expected, rtol=1e-5, atol=1e-7)


def _train_ten_steps(config, form):
    # In float64, because float32 rounding can change the sign of a relu's input.
    config = override(config, ["train.precision=float64", f"model.convolution_form={form}"])
    return _train(config, tf.distribute.get_strategy(), 10)


@pytest.fixture(scope="module")
def ten_plain_steps(tiny):
    return _train_ten_steps(tiny, "plain")


@pytest.mark.slow
@pytest.mark.parametrize(("form", "device"), [("strided", "cpu"), ("products", "cpu"), ("auto", "tpu")])
def test_ten_steps_do_not_depend_on_the_convolution_form(tiny, ten_plain_steps, form, device):
    plain, metrics = ten_plain_steps
    with execution(target=device):
        state, others = _train_ten_steps(tiny, form)
    expected = plain.variables()
    for name, variable in state.variables().items():
        if expected[name].dtype.is_floating:
            np.testing.assert_allclose(variable.numpy(), expected[name].numpy(), rtol=1e-6, atol=1e-8, err_msg=name)
    for name, value in metrics.items():
        assert others[name] == pytest.approx(value, rel=1e-6), name


def test_fused_adam_equals_keras_adam():
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=(4, 3)), rng.normal(size=(5, 4, 3))
    results = []
    # Keras rounds the decays to float32, even for float64 weights; these are exact.
    for optimizer in (FusedAdam, keras.optimizers.Adam):
        variable = keras.Variable(start, dtype="float64", name="kernel")
        adam = optimizer(learning_rate=0.1, beta_1=0.5, beta_2=0.875, epsilon=1e-8, name="adam")
        adam.build([variable])
        for gradient in gradients:
            tf.function(lambda: adam.apply([tf.constant(gradient)], [variable]))()  # noqa: B023
        named = {slot.path: slot.numpy() for slot in adam.variables}
        results.append({**named, "kernel": variable.numpy()})
    fused, composed = results
    assert fused.keys() == composed.keys()
    for name, value in composed.items():
        np.testing.assert_allclose(fused[name], value, rtol=1e-12, err_msg=name)


def test_singular_values_match_the_kernels(tiny):
    state = TrainState(tiny)
    step = TrainStep(state, tiny, tf.distribute.get_strategy())
    images, labels = next(iter(_batches(tiny)))
    for number in range(3):
        step(((images, labels),), tf.constant(number), random_streams.run_stream(0))
    convolution, embedding = state.discriminator.blocks[0].conv1, state.discriminator.embedding
    kernel = convolution.kernel.numpy()
    matrices = {convolution: kernel.reshape(-1, kernel.shape[-1]), embedding: embedding.kernel.numpy().T}
    for layer, matrix in matrices.items():
        for _ in range(100):
            layer.normalized_kernel(training=True)
        value = step.singular_values()[step.layers_with_singular_values.index(layer.path)]
        np.testing.assert_allclose(value, np.linalg.norm(matrix, 2), rtol=1e-4)
    assert float(step.finite_share()) == 1.0
    state.generator_optimizer.variables[-1].assign(tf.fill(state.generator_optimizer.variables[-1].shape, np.nan))
    assert float(step.finite_share()) == 0.0


AUGMENTED = [f"augmentation.{name}=true" for name in ("flip", "color", "translation", "cutout")]
REGULARIZED = [
    *("regularization.r1=0.1", "regularization.r1_interval=2", "regularization.lecam=0.1"),
    *("regularization.consistency_real=1", "regularization.consistency_fake=0.5"),
]


@pytest.mark.slow
def test_parts_of_a_batch_equal_replicas_with_unsynchronised_batch_statistics(tiny, two_replicas, monkeypatch):
    monkeypatch.setattr("hamgan.layers.batch_normalization.sum_over_replicas", lambda values: values)
    # With a large epsilon, Adam does not divide rounding errors of small gradients by themselves.
    settings = ["train.precision=float64", "train.adam_epsilon=1", "train.ema_decay=0.9", *AUGMENTED, *REGULARIZED]
    config = override(tiny, settings)
    expected, expected_metrics = _train(config, two_replicas, 3)
    state, metrics = _train(override(config, ["train.accumulation=2"]), tf.distribute.get_strategy(), 3)
    for name, variable in state.variables().items():
        # The moving averages of the replicas are those of the first.
        if "/moving_" not in name:
            np.testing.assert_allclose(
                variable.numpy(), expected.variables()[name].numpy(), rtol=1e-6, atol=1e-8, err_msg=name
            )
    for name in ("discriminator_loss", "generator_loss", "real_logits", "lecam_penalty", "r1_penalty"):
        assert metrics[name] == pytest.approx(expected_metrics[name], rel=1e-6), name


@pytest.mark.slow
def test_mixed_bfloat16_trains_close_to_float32_with_float32_state(tiny):
    config = override(tiny, [*AUGMENTED, *REGULARIZED])
    state, metrics = _train(config, tf.distribute.get_strategy(), 2)
    mixed, mixed_metrics = _train(override(config, ["train.precision=mixed_bfloat16"]), tf.distribute.get_strategy(), 2)
    assert mixed.generator.compute_dtype == mixed.discriminator.blocks[0].conv1.compute_dtype == "bfloat16"
    for name, variable in mixed.variables().items():
        assert variable.dtype == state.variables()[name].dtype, name
        assert variable.dtype.is_integer or variable.dtype == tf.float32, name
    close = (
        "discriminator_loss",
        "generator_loss",
        "real_logits",
        "fake_logits",
        "lecam_penalty",
        "consistency_penalty",
    )
    for name in close:
        np.testing.assert_allclose(mixed_metrics[name], metrics[name], atol=0.05, err_msg=name)
        assert mixed_metrics[name] != metrics[name]
    # Second derivatives are the least exact.
    assert mixed_metrics["r1_penalty"] == pytest.approx(metrics["r1_penalty"], rel=0.2)
    # In bfloat16, a moving average with decay 0.999 would not change.
    for layer, other in zip(mixed.generator.blocks, state.generator.blocks, strict=True):
        moved = layer.norm1.moving_variance.numpy()
        assert (moved != 1.0).all()
        np.testing.assert_allclose(moved, other.norm1.moving_variance.numpy(), rtol=1e-2)


def test_the_batch_must_be_divisible_into_parts(tiny):
    config = override(tiny, ["train.accumulation=3"])
    with pytest.raises(UserError, match=r"multiple of the 3 parts .*train.accumulation.*, found 4; use 3 or 6"):
        TrainStep(TrainState(config), config, tf.distribute.get_strategy())


def test_the_generator_is_trained_and_sampled_without_augmentation(tiny):
    """Only what the discriminator sees is augmented, in both updates."""
    config = override(tiny, AUGMENTED)
    state = TrainState(config)
    seen = []
    call = state.discriminator.call

    def spy(images, *args, **kwargs):
        seen.append(images)
        return call(images, *args, **kwargs)

    state.discriminator.call = spy
    images, labels = next(iter(_batches(config)))
    TrainStep(state, config, tf.distribute.get_strategy())(
        ((images, labels),), tf.constant(0), random_streams.run_stream(0)
    )
    (in_discriminator_update, in_generator_update) = (tensor.numpy() for tensor in seen)
    # A quarter of each image is cut out, unless the square extends beyond the border.
    for image in [*in_discriminator_update, *in_generator_update]:
        assert (image == 0).all(axis=-1).sum() >= 32 * 32 / 16
    sampler = Sampler(state.sampling_generator, seed=0, batch=4)
    for image in np.concatenate(list(sampler.batches(np.arange(4)))):
        assert (image == 0).all(axis=-1).sum() < 8


def _is_translation(image, original):
    # The central half stays inside the image for every translation of at most an eighth.
    center = original[8:24, 8:24]
    shifts = range(-4, 5)
    return any(
        np.array_equal(image[8 + down : 24 + down, 8 + right : 24 + right], center)
        for down in shifts
        for right in shifts
    )


@pytest.mark.parametrize("flip", [False, True])
def test_consistency_compares_images_with_translated_and_maybe_mirrored_ones(tiny, flip):
    settings = ["regularization.consistency_real=1", "train.global_batch=16", f"augmentation.flip={flip}"]
    config = override(tiny, settings)
    state = TrainState(config)
    seen = []
    call = state.discriminator.call

    def spy(images, labels, *args, **kwargs):
        seen.append((images.numpy(), labels.numpy()))
        return call(images, labels, *args, **kwargs)

    state.discriminator.call = spy
    images, labels = next(iter(_batches(config)))
    TrainStep(state, config, tf.distribute.get_strategy())(
        ((images, labels),), tf.constant(0), random_streams.run_stream(0)
    )
    reals, fakes, moved_reals, moved_fakes = np.split(seen[0][0], 4)
    is_mirrored = []
    for originals, moved in ((reals, moved_reals), (fakes, moved_fakes)):
        for image, original in zip(moved, originals, strict=True):
            is_mirrored.append(not _is_translation(image, original))
            assert _is_translation(image, original[:, ::-1] if is_mirrored[-1] else original)
    assert any(is_mirrored) == flip
    assert not all(is_mirrored)
    of_reals, of_fakes, *again = np.split(seen[0][1], 4)
    np.testing.assert_array_equal(np.concatenate(again), np.concatenate([of_reals, of_fakes]))


def test_penalties_are_metrics_and_r1_is_due_at_its_interval(tiny):
    config = override(tiny, REGULARIZED)
    state = TrainState(config)
    step = TrainStep(state, config, tf.distribute.get_strategy())
    images, labels = next(iter(_batches(config)))
    first, second, third = (
        step(((images, labels),), tf.constant(number), random_streams.run_stream(0)) for number in range(3)
    )
    assert set(first) == set(step.metric_names)
    assert set(step.metric_names) - set(METRIC_NAMES) == {"r1_penalty", "lecam_penalty", "consistency_penalty"}
    assert float(first["r1_penalty"]) > 0
    assert float(second["r1_penalty"]) == 0
    assert float(third["r1_penalty"]) > 0
    averages = np.zeros(2)
    for metrics in (first, second, third):
        averages = 0.99 * averages + 0.01 * np.array([metrics["real_logits"], metrics["fake_logits"]])
    np.testing.assert_allclose(state.logit_averages.numpy(), averages, rtol=1e-4)


@pytest.mark.slow
def test_networks_with_several_context_modules_train_on_two_replicas(tiny, two_replicas, tmp_path):
    config = override(
        tiny,
        [
            "model.generator.context.1.module=self_attention",
            "model.generator.context.1.resolution=8",
            "model.discriminator.context.1.module=hamburger",
            "model.discriminator.context.1.resolution=8",
            "model.discriminator.context.1.latent_dim=4",
            "model.discriminator.context.1.rank=2",
            "train.steps=2",
            "train.ema_decay=0",
        ],
    )
    run = RunDirectory(str(tmp_path / "run"))
    train(config, run, two_replicas)
    state = TrainState(config)
    networks = (state.generator, state.discriminator)
    initial = [_weights(network) for network in networks]
    restore(latest_checkpoint(run.checkpoints), state.variables())
    (logged,) = run.read_metrics()
    for network, before in zip(networks, initial, strict=True):
        for module, name in zip(network.context, ("sigma", "sigma_2"), strict=True):
            assert logged[f"{network.name}_{name}"] == pytest.approx(float(module.sigma.numpy()))
            # The first step moves sigma away from 0, and the second one trains the other weights of the module.
            assert {weight.path for weight in module.weights} <= _changed(before, _weights(network))
