import numpy as np
import pytest
import tensorflow as tf

from hamgan import random_streams
from hamgan.config import override
from hamgan.errors import UserError
from hamgan.training.distribution import create_strategy, replica_batch
from hamgan.training.state import TrainState
from hamgan.training.train_step import TrainStep, make_train_function


def _batches(config, count=8):
    rng = np.random.default_rng(0)
    batch = config.train.global_batch
    images = rng.uniform(-1, 1, (count * batch, 32, 32, 3)).astype(np.float32)
    labels = rng.integers(0, 10, count * batch).astype(np.int32)
    return tf.data.Dataset.from_tensor_slices((images, labels)).batch(batch, drop_remainder=True).repeat()


def _with_hamburgers_at_work(state):
    # sigma begins at 0: nothing of the hams would be seen in a few steps.
    for network in (state.generator, state.discriminator):
        network.hamburger.sigma.assign(0.5)


def _weights(network):
    return {variable.path: variable.numpy() for variable in network.weights}


def _changed(before, after):
    return {path for path in before if not np.array_equal(before[path], after[path])}


def _train(config, strategy, num_steps):
    with strategy.scope():
        state = TrainState(config)
    _with_hamburgers_at_work(state)
    train = make_train_function(TrainStep(state, config, strategy), strategy)
    iterator = iter(strategy.experimental_distribute_dataset(_batches(config)))
    taken = train(iterator, tf.constant(num_steps), random_streams.run_stream(config.train.seed))
    assert int(taken.count) == num_steps
    assert int(taken.failed_step) == -1
    assert bool(taken.weights_are_finite)
    return state, {name: float(value) for name, value in taken.metrics.items()}


@pytest.fixture(scope="module")
def state_and_step(tiny):
    state = TrainState(tiny)
    _with_hamburgers_at_work(state)
    return state, TrainStep(state, tiny, tf.distribute.get_strategy())


def test_a_discriminator_update_leaves_the_generators_weights(tiny, state_and_step):
    state, step = state_and_step
    generator, discriminator = _weights(state.generator), _weights(state.discriminator)
    images, labels = next(iter(_batches(tiny)))
    step._update_discriminator(images, labels, tf.constant([1, 2]))
    trainable = {variable.path for variable in state.generator.trainable_variables}
    assert not _changed(generator, _weights(state.generator)) & trainable
    kernels = {path for path in discriminator if path.endswith("kernel")}
    assert kernels <= _changed(discriminator, _weights(state.discriminator))


def test_a_generator_update_leaves_the_discriminator_as_it_is(state_and_step):
    state, step = state_and_step
    generator, discriminator = _weights(state.generator), _weights(state.discriminator)
    step._update_generator(tf.constant([1, 2]))
    assert not _changed(discriminator, _weights(state.discriminator))
    kernels = {path for path in generator if path.endswith("kernel")}
    assert kernels <= _changed(generator, _weights(state.generator))


def test_a_step_makes_as_many_updates_as_configured(tiny):
    config = override(tiny, ["train.discriminator_updates=2", "train.generator_updates=3"])
    state = TrainState(config)
    images, labels = next(iter(_batches(config)))
    TrainStep(state, config, tf.distribute.get_strategy())(
        ((images, labels), (images, labels)), tf.constant(0), random_streams.run_stream(0)
    )
    assert int(state.discriminator_optimizer.iterations.numpy()) == 2
    assert int(state.generator_optimizer.iterations.numpy()) == 3


def test_every_update_has_numbers_of_its_own(tiny, state_and_step):
    _, step = state_and_step
    keys = [tf.constant([1, 2]), tf.constant([1, 3])]
    (first, _), (other, _) = (step._fake(key) for key in keys)
    assert abs(first - other).numpy().max(axis=(1, 2, 3)).min() > 1e-4


def test_the_average_follows_the_generator(tiny):
    state, _ = _train(tiny, tf.distribute.get_strategy(), 1)
    fresh = TrainState(tiny)
    _with_hamburgers_at_work(fresh)
    initial = _weights(fresh.ema_generator)
    for average, weight in zip(state.ema_generator.weights, state.generator.weights, strict=True):
        decay = 0.1 if weight.trainable else 0.0  # (1 + 0) / (10 + 0): the warm-up's first step
        expected = decay * initial[average.path] + (1 - decay) * weight.numpy()
        np.testing.assert_allclose(average.numpy(), expected, rtol=1e-5, atol=1e-7)


def test_two_replicas_take_the_same_steps_as_one(tiny):
    one, metrics_of_one = _train(tiny, tf.distribute.get_strategy(), 3)
    two, metrics_of_two = _train(tiny, tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), 3)
    for name, value in metrics_of_one.items():
        if name.endswith("gradient_norm"):
            continue  # Of each replica's own share.
        np.testing.assert_allclose(metrics_of_two[name], value, rtol=1e-4, atol=1e-5)
    ones, twos = one.variables(), two.variables()
    assert ones.keys() == twos.keys()
    for name, variable in ones.items():
        expected = variable.numpy()
        error = np.linalg.norm(twos[name].numpy() - expected) / max(np.linalg.norm(expected), 1e-3)
        # Biases that batch normalisation cancels have gradients of rounding noise, which Adam turns into steps.
        if not name.endswith("bias") and "_bias_" not in name:
            assert error < 1e-3, name


@pytest.mark.parametrize(("batch", "remedy"), [(7, "use 6 or 8"), (1, "use 2")])
def test_a_batch_that_the_replicas_do_not_divide_is_refused(batch, remedy):
    with pytest.raises(UserError, match=f"multiple of the 2 replicas, found {batch}; {remedy}"):
        replica_batch(batch, tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"accelerator": "tpux"}, "must be one of auto, cpu, gpu"),
        ({"cpu_replicas": 0}, "--cpu_replicas must be positive"),
        ({"accelerator": "gpu"}, "TensorFlow sees no GPU"),
    ],
)
def test_strategies_that_cannot_be_had_are_refused(monkeypatch, arguments, message):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    with pytest.raises(UserError, match=message):
        create_strategy(**arguments)
