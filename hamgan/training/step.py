"""The training step: discriminator updates, then generator updates."""

from collections.abc import Callable, Iterator, Sequence
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
    """The training step that each replica runs on its share of the batch, through ``strategy.run``.

    Each discriminator update uses a new batch of real images. Each update of either network draws new latent vectors,
    labels and bases, which depend only on the stream, the step, the update and the index in the global batch.

    Args:
        state: state to train, created in the scope of the strategy.
        config: config of the experiment.
        strategy: strategy that runs the step.
        class_counts: number of images of each class, in proportion to which labels of fakes are drawn; None draws all
            classes equally often.
    """

    def __init__(
        self,
        state: TrainState,
        config: ExperimentConfig,
        strategy: tf.distribute.Strategy,
        class_counts: Sequence[int] | None = None,
    ) -> None:
        self.state = state
        self.config = config.train
        self.class_counts = class_counts
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
        """Takes one step.

        Args:
            real_batches: images in [-1, 1], shape ``(batch, height, width, channels)``, and labels, shape ``(batch,)``,
                for each discriminator update.
            step: number of previous steps.
            stream: random stream of the run, from :func:`hamgan.random_streams.run_stream`.

        Returns:
            Scalar metrics of this replica by name. Gradient norms are those of the replica's share of the batch.
        """
        metrics: Metrics = {}
        key = random_streams.fold(stream, step)
        for update, (images, labels) in enumerate(real_batches):
            update_key = random_streams.fold(key, Purpose.DISCRIMINATOR_UPDATE, update)
            metrics.update(self._update_discriminator(images, labels, update_key))
            key = _after_gradients(key, metrics["discriminator_gradient_norm"])
        for update in range(self.config.generator_updates):
            update_key = random_streams.fold(key, Purpose.GENERATOR_UPDATE, update)
            metrics.update(self._update_generator(update_key))
            key = _after_gradients(key, metrics["generator_gradient_norm"])
            if self.state.ema_generator is not None:
                self._update_average(self.state.ema_generator, step)
        return {name: tf.cast(metric, tf.float32) for name, metric in metrics.items()}

    def finite_share(self) -> tf.Tensor:
        """Returns 1.0 if all floating-point variables of the state are finite, else 0.0."""
        variables = [variable for variable in self.state.variables().values() if variable.dtype.is_floating]
        finite = tf.stack([tf.reduce_all(tf.math.is_finite(variable)) for variable in variables])
        return tf.cast(tf.reduce_all(finite), tf.float32)

    @property
    def layers_with_singular_values(self) -> list[str]:
        """The paths of the spectrally normalised layers, in the order of :meth:`singular_values`."""
        return list(self._spectrally_normalized)

    def singular_values(self) -> tf.Tensor:
        """Returns the estimated largest singular value of each spectrally normalised kernel, shape ``(layers,)``."""
        values = [layer.largest_singular_value() for layer in self._spectrally_normalized.values()]
        return tf.cast(tf.stack(values), tf.float32)

    def _first(self) -> tf.Tensor:
        """Returns the index of this replica's first example in the global batch."""
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        return tf.cast(replica, tf.int64) * self.batch

    def _fake(self, key: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        inputs = self.state.generator.draw_inputs(
            key, first=self._first(), count=self.batch, class_counts=self.class_counts
        )
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
            # One pass for real and fake images, because the discriminator treats examples independently.
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
            # training=False, because only discriminator updates change the discriminator's state.
            logits = self.state.discriminator(fakes, labels, training=False, initial_bases=bases)
            loss = hinge_generator_loss(logits)
            scaled_loss = self._scaled(loss)
        norm = self._apply(tape, scaled_loss, self.state.generator_optimizer, generator)
        return {"generator_loss": loss, "generator_gradient_norm": norm}

    def _scaled(self, loss: tf.Tensor) -> tf.Tensor:
        """Divides by the number of replicas, because Keras optimizers sum gradients over replicas."""
        return loss / self.num_replicas

    def _apply(
        self,
        tape: tf.GradientTape,
        scaled_loss: tf.Tensor,
        optimizer: keras.optimizers.Optimizer,
        network: keras.Model,
    ) -> tf.Tensor:
        """Updates the network and returns the gradient norm of the unscaled loss."""
        variables = network.trainable_variables
        gradients = tape.gradient(scaled_loss, [variable.value for variable in variables])
        optimizer.apply(gradients, variables)
        return tf.linalg.global_norm(gradients) * self.num_replicas

    def _update_average(self, average: Generator, step: tf.Tensor) -> None:
        """Updates the average of the trainable weights, and copies moving averages, singular vectors and bases."""
        steps = tf.cast(step, tf.float32)
        decay = tf.minimum(self.config.ema_decay, (1.0 + steps) / (self.config.ema_warmup + steps))
        generator = self.state.generator
        trainable = {variable.path for variable in average.trainable_variables}

        def update_all(strategy: tf.distribute.Strategy, share: tf.Tensor) -> None:
            for target, source in zip(average.weights, generator.weights, strict=True):
                if target.path in trainable:
                    strategy.extended.update(target.value, _move_towards, args=(source.value, share))
                else:
                    strategy.extended.update(target.value, _copy, args=(source.value,))

        # All replicas have the same weights, so each updates its copy without communication.
        tf.distribute.get_replica_context().merge_call(update_all, args=(1.0 - decay,))


def _after_gradients(key: tf.Tensor, gradient_norm: tf.Tensor) -> tf.Tensor:
    """Returns the key with a data dependency on the gradients of an update.

    The images of the next update do not depend on the previous one. Without this dependency, TensorFlow and XLA run
    both updates at the same time, with the activations of both in memory. A data dependency is necessary because XLA
    drops control dependencies; XLA cannot simplify this one, as it does not know that a norm is never -inf.
    """
    return key + tf.cast(tf.equal(gradient_norm, -float("inf")), key.dtype)


def _copy(target: tf.Variable, source: tf.Tensor) -> tf.Operation:
    return target.assign(source)


def _move_towards(target: tf.Variable, source: tf.Tensor, share: tf.Tensor) -> tf.Operation:
    """Adds ``share * (source - target)`` in place, with a single temporary."""
    source = tf.convert_to_tensor(source)
    return tf.raw_ops.ResourceApplyGradientDescent(
        var=target.handle, alpha=tf.cast(share, target.dtype), delta=target - source
    )


class StepsTaken(NamedTuple):
    """Result of a call of the train function."""

    count: tf.Tensor
    """Number of steps taken."""
    was_stopped: tf.Tensor
    """Whether a stop was requested."""
    metrics: Metrics
    """Means of the metrics over the steps."""
    failed_step: tf.Tensor
    """First step with a non-finite metric, counted from 1, or -1."""
    failed_metrics: Metrics
    """Metrics of the failed step."""
    weights_are_finite: tf.Tensor
    """Whether all variables are finite after the steps."""
    singular_values: tf.Tensor
    """Largest singular values after the steps, in the order of ``TrainStep.layers_with_singular_values``."""


TrainFunction = Callable[[Iterator, tf.Tensor, tf.Tensor], StepsTaken]


def make_train_function(
    step: TrainStep, strategy: tf.distribute.Strategy, stop_requested: tf.Variable | None = None
) -> TrainFunction:
    """Returns a compiled function that takes several steps per call.

    Args:
        step: step of each replica.
        strategy: strategy that runs the step.
        stop_requested: boolean variable that is read before each step; if it is true, the function returns early, on
            all workers at the same step.

    Returns:
        A function of (iterator, number of steps, random stream of the run).
    """
    # The remapping pass logs an error about a missing node on this graph, and does not change its speed.
    tf.config.optimizer.set_experimental_options({"remapping": False})
    state, config = step.state, step.config
    mean = tf.distribute.ReduceOp.MEAN

    def is_stopped() -> tf.Tensor:
        if stop_requested is None:
            return tf.constant(False)
        requested = tf.identity(stop_requested)
        if not is_multi_worker(strategy):
            return requested
        # All workers stop as soon as one of them receives the signal.
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
