"""One step: discriminator updates, then generator updates, on every replica's share of the batch."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import keras
import tensorflow as tf

from hamgan import random_streams
from hamgan.config import ExperimentConfig
from hamgan.distribution.strategies import is_multi_worker, replica_batch
from hamgan.layers.spectral_normalization import spectrally_normalized_layers
from hamgan.networks import Generator
from hamgan.random_streams import Purpose
from hamgan.training.losses import hinge_discriminator_loss, hinge_generator_loss
from hamgan.training.state import TrainState

Metrics = dict[str, tf.Tensor]
METRIC_NAMES = (
    "discriminator_loss",
    "generator_loss",
    "real_logits",
    "fake_logits",
    "discriminator_gradient_norm",
    "generator_gradient_norm",
)


class TrainStep:
    """The step of one replica; call it by ``strategy.run``.

    Each discriminator update has its own real batch, latent vectors, labels and bases; each generator update its own
    latent vectors, labels and bases. They are functions of (stream, step, update, index in the global batch).
    """

    def __init__(self, state: TrainState, config: ExperimentConfig, strategy: tf.distribute.Strategy) -> None:
        self.state = state
        self.config = config.train
        self.num_replicas = strategy.num_replicas_in_sync
        self.batch = replica_batch(config.train.global_batch, strategy)
        self._spectrally_normalized = {
            layer.path: layer
            for network in (state.generator, state.discriminator)
            for layer in spectrally_normalized_layers(network)
        }

    def __call__(
        self, real_batches: tuple[tuple[tf.Tensor, tf.Tensor], ...], step: tf.Tensor, stream: tf.Tensor
    ) -> Metrics:
        """Takes one step and returns its metrics, scalars of this replica.

        Gradient norms are of the replica's own share of the batch.

        Args:
            real_batches: per discriminator update, images ``(batch, height, width, 3)`` and labels ``(batch,)``.
            step: the number of steps taken before.
            stream: the run's key, from :func:`hamgan.random_streams.run_stream`.
        """
        metrics: Metrics = {}
        key = random_streams.fold(stream, step)
        for update, (images, labels) in enumerate(real_batches):
            update_key = random_streams.fold(key, Purpose.DISCRIMINATOR_UPDATE, update)
            metrics.update(self._update_discriminator(images, labels, update_key))
            key = _after(metrics["discriminator_gradient_norm"], key)
        for update in range(self.config.generator_updates):
            update_key = random_streams.fold(key, Purpose.GENERATOR_UPDATE, update)
            metrics.update(self._update_generator(update_key))
            key = _after(metrics["generator_gradient_norm"], key)
            if self.state.ema_generator is not None:
                self._update_average(self.state.ema_generator, step)
        return {name: tf.cast(metric, tf.float32) for name, metric in metrics.items()}

    def finite_share(self) -> tf.Tensor:
        """Returns 1 if every variable of the state is finite, else 0."""
        variables = [variable for variable in self.state.variables().values() if variable.dtype.is_floating]
        finite = tf.stack([tf.reduce_all(tf.math.is_finite(variable)) for variable in variables])
        return tf.cast(tf.reduce_all(finite), tf.float32)

    @property
    def layers_with_singular_values(self) -> list[str]:
        """The names of the spectrally normalised layers."""
        return list(self._spectrally_normalized)

    def singular_values(self) -> tf.Tensor:
        """Returns the largest singular value of each of those layers' kernels, by the state's estimate."""
        values = [layer.largest_singular_value() for layer in self._spectrally_normalized.values()]
        return tf.cast(tf.stack(values), tf.float32)

    def _first(self) -> tf.Tensor:
        """Index, in the global batch, of this replica's first example."""
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        return tf.cast(replica, tf.int64) * self.batch

    def _fake(self, key: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        inputs = self.state.generator.draw_inputs(key, first=self._first(), count=self.batch)
        return self.state.generator(*inputs, training=True), inputs.labels

    def _discriminator_bases(self, key: tf.Tensor, *purposes: Purpose) -> tuple[tf.Tensor, ...]:
        drawn = [
            self.state.discriminator.draw_initial_bases(key, purpose, first=self._first(), count=self.batch)
            for purpose in purposes
        ]
        return tuple(tf.concat(bases, axis=0) for bases in zip(*drawn, strict=True))

    def _update_discriminator(self, images: tf.Tensor, labels: tf.Tensor, key: tf.Tensor) -> Metrics:
        fakes, fake_labels = self._fake(key)
        discriminator = self.state.discriminator
        bases = self._discriminator_bases(key, Purpose.DISCRIMINATOR_BASES_REAL, Purpose.DISCRIMINATOR_BASES_FAKE)
        with tf.GradientTape() as tape:
            # Real and fake in one pass: nothing in the discriminator looks across the batch.
            logits = discriminator(
                tf.concat([tf.cast(images, fakes.dtype), fakes], axis=0),
                tf.concat([labels, fake_labels], axis=0),
                training=True,
                initial_bases=bases,
            )
            real_logits, fake_logits = tf.split(logits, 2)
            loss = hinge_discriminator_loss(real_logits, fake_logits)
            scaled_loss = self._scaled(loss)
        norm = self._apply(tape, scaled_loss, self.state.discriminator_optimizer, discriminator)
        return {
            "discriminator_loss": loss,
            "discriminator_gradient_norm": norm,
            "real_logits": tf.reduce_mean(real_logits),
            "fake_logits": tf.reduce_mean(fake_logits),
        }

    def _update_generator(self, key: tf.Tensor) -> Metrics:
        generator = self.state.generator
        bases = self._discriminator_bases(key, Purpose.DISCRIMINATOR_BASES_FAKE)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([variable.value for variable in generator.trainable_variables])
            fakes, labels = self._fake(key)
            # training=False: the discriminator's state belongs to its own update.
            logits = self.state.discriminator(fakes, labels, training=False, initial_bases=bases)
            loss = hinge_generator_loss(logits)
            scaled_loss = self._scaled(loss)
        norm = self._apply(tape, scaled_loss, self.state.generator_optimizer, generator)
        return {"generator_loss": loss, "generator_gradient_norm": norm}

    def _scaled(self, loss: tf.Tensor) -> tf.Tensor:
        """Keras optimizers sum gradients over replicas; the loss is the mean over the global batch."""
        return loss / self.num_replicas

    def _apply(
        self,
        tape: tf.GradientTape,
        scaled_loss: tf.Tensor,
        optimizer: keras.optimizers.Optimizer,
        network: keras.Model,
    ) -> tf.Tensor:
        """Updates the network; returns the norm of the gradient of the loss, before scaling."""
        variables = network.trainable_variables
        gradients = tape.gradient(scaled_loss, [variable.value for variable in variables])
        optimizer.apply(gradients, variables)
        return tf.linalg.global_norm(gradients) * self.num_replicas

    def _update_average(self, average: Generator, step: tf.Tensor) -> None:
        """Moves the average's trainable weights; the statistics and singular vectors follow the generator's."""
        # Early on the average would be mostly initial weights: it warms up as 1/10, 2/11, ...
        steps = tf.cast(step, tf.float32)
        decay = tf.minimum(self.config.ema_decay, (1.0 + steps) / (10.0 + steps))
        generator = self.state.generator
        trainable = {variable.path for variable in average.trainable_variables}

        def update_all(strategy: tf.distribute.Strategy, share: tf.Tensor) -> None:
            for target, source in zip(average.weights, generator.weights, strict=True):
                if target.path in trainable:
                    strategy.extended.update(target.value, _move_towards, args=(source.value, share))
                else:
                    strategy.extended.update(target.value, _copy, args=(source.value,))

        # Every replica holds the same weights: each moves its own copy and nothing is sent.
        tf.distribute.get_replica_context().merge_call(update_all, args=(1.0 - decay,))


def _after(gradient_norm: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """Returns the key, but not before the update with this norm has all its gradients.

    Nothing in the discriminator's update is needed for the images of the generator's: TensorFlow and XLA would make
    them meanwhile, and the activations of both updates would be in memory. XLA drops control dependencies, but it does
    not know that a norm is never negative infinity.
    """
    return key + tf.cast(tf.equal(gradient_norm, -float("inf")), key.dtype)


def _copy(target: tf.Variable, source: tf.Tensor) -> tf.Operation:
    return target.assign(source)


def _move_towards(target: tf.Variable, source: tf.Tensor, share: tf.Tensor) -> tf.Operation:
    """Adds ``share * (source - target)``: one operation in place, and one temporary."""
    source = tf.convert_to_tensor(source)
    return tf.raw_ops.ResourceApplyGradientDescent(
        var=target.handle, alpha=tf.cast(share, target.dtype), delta=target - source
    )


class StepsTaken(NamedTuple):
    """Result of one call of the train function."""

    count: tf.Tensor
    """How many steps were taken."""
    was_stopped: tf.Tensor
    """Whether a stop was requested."""
    metrics: Metrics
    """Means over the steps."""
    failed_step: tf.Tensor
    """The first step whose losses, logits or gradients were not finite, counted from 1; -1 if all were."""
    failed_metrics: Metrics
    """Of that step."""
    weights_are_finite: tf.Tensor
    """After the steps."""
    singular_values: tf.Tensor
    """After the steps, in the order of ``TrainStep.layers_with_singular_values``."""


TrainFunction = Callable[[Iterator, tf.Tensor, tf.Tensor], StepsTaken]


def make_train_function(
    step: TrainStep, strategy: tf.distribute.Strategy, stop_requested: tf.Variable | None = None
) -> TrainFunction:
    """Returns a compiled function that takes many steps per call.

    Args:
        step: of one replica.
        strategy: the strategy.
        stop_requested: looked at before each step; if it is true, the function returns early, on all workers alike.

    Returns:
        A function of (iterator, number of steps, the run's stream).
    """
    # This pass fails on the step's graph with a line of log about a missing node, and changes nothing in speed.
    tf.config.optimizer.set_experimental_options({"remapping": False})
    state, config = step.state, step.config
    mean = tf.distribute.ReduceOp.MEAN

    def is_stopped() -> tf.Tensor:
        if stop_requested is None:
            return tf.constant(False)
        requested = tf.identity(stop_requested)
        if not is_multi_worker(strategy):
            return requested
        # Workers stop together, when the signal has reached one of them.
        share = strategy.run(lambda flag: tf.cast(flag, tf.float32), args=(requested,))
        return strategy.reduce(mean, share, axis=None) > 0

    @tf.function
    def train(iterator: Iterator, num_steps: tf.Tensor, stream: tf.Tensor) -> StepsTaken:
        totals = {name: tf.zeros(()) for name in METRIC_NAMES}
        failed_metrics = {name: tf.zeros(()) for name in METRIC_NAMES}
        failed_step = tf.constant(-1, tf.int64)
        count = tf.constant(0)
        stopped = is_stopped()
        while tf.logical_and(count < num_steps, tf.logical_not(stopped)):
            batches = tuple([next(iterator) for _ in range(config.discriminator_updates)])
            per_replica = strategy.run(step, args=(batches, tf.identity(state.step), stream))
            metrics = {name: strategy.reduce(mean, per_replica[name], axis=None) for name in METRIC_NAMES}
            state.step.assign_add(1)
            count += 1
            totals = {name: total + metrics[name] for name, total in totals.items()}
            fails = tf.logical_not(tf.reduce_all(tf.math.is_finite(tf.stack(list(metrics.values())))))
            fails_first = tf.logical_and(fails, failed_step < 0)
            failed_step = tf.where(fails_first, tf.identity(state.step), failed_step)
            failed_metrics = {name: tf.where(fails_first, metrics[name], failed_metrics[name]) for name in METRIC_NAMES}
            stopped = is_stopped()
        finite = strategy.reduce(mean, strategy.run(step.finite_share), axis=None)
        singular_values = strategy.reduce(mean, strategy.run(step.singular_values), axis=None)
        means = {name: total / tf.cast(tf.maximum(count, 1), tf.float32) for name, total in totals.items()}
        return StepsTaken(count, stopped, means, failed_step, failed_metrics, finite >= 1.0, singular_values)

    return train
