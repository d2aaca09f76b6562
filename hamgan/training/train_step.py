"""One step: discriminator updates, then generator updates, on every replica's share of the batch."""

from collections.abc import Callable, Iterator

import keras
import tensorflow as tf

from hamgan import random_streams
from hamgan.config import ExperimentConfig
from hamgan.models import Generator
from hamgan.random_streams import Purpose
from hamgan.sampling import generator_inputs, hamburger_bases
from hamgan.training.distribution import replica_batch
from hamgan.training.losses import hinge_discriminator_loss, hinge_generator_loss
from hamgan.training.state import TrainState

Metrics = dict[str, tf.Tensor]
METRIC_NAMES = ("discriminator_loss", "generator_loss", "real_logits", "fake_logits")


class TrainStep:
    """The step of one replica; call it by ``strategy.run``.

    Each discriminator update has its own real batch, latent vectors, labels and bases; each generator update its own
    latent vectors, labels and bases. They are functions of (seed, step, update, index in the global batch).
    """

    def __init__(self, state: TrainState, config: ExperimentConfig, strategy: tf.distribute.Strategy) -> None:
        self.state = state
        self.config = config.train
        self.num_classes = config.model.num_classes
        self.num_replicas = strategy.num_replicas_in_sync
        self.batch = replica_batch(config.train.global_batch, strategy)

    def __call__(self, real_batches: tuple[tuple[tf.Tensor, tf.Tensor], ...], step: tf.Tensor) -> Metrics:
        """Takes one step and returns its metrics, scalars of this replica.

        Args:
            real_batches: per discriminator update, images ``(batch, height, width, 3)`` and labels ``(batch,)``.
            step: the number of steps taken before.
        """
        metrics: Metrics = {}
        key = random_streams.fold(self.config.seed, step)
        for update, (images, labels) in enumerate(real_batches):
            update_key = random_streams.fold(key, Purpose.DISCRIMINATOR_UPDATE, update)
            metrics.update(self._update_discriminator(images, labels, update_key))
        for update in range(self.config.generator_updates):
            update_key = random_streams.fold(key, Purpose.GENERATOR_UPDATE, update)
            metrics.update(self._update_generator(update_key))
            if self.state.ema_generator is not None:
                self._update_average(self.state.ema_generator, step)
        return metrics

    def _first(self) -> tf.Tensor:
        """Index, in the global batch, of this replica's first example."""
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        return tf.cast(replica, tf.int64) * self.batch

    def _fake(self, key: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        first = self._first()
        z, bases = generator_inputs(self.state.generator, key, first=first, count=self.batch)
        labels = random_streams.draw_labels(
            random_streams.fold(key, Purpose.LABELS),
            first=first,
            count=self.batch,
            num_classes=self.num_classes,
        )
        return self.state.generator(z, labels, training=True, initial_bases=bases), labels

    def _discriminator_bases(self, key: tf.Tensor, *purposes: Purpose) -> tf.Tensor | None:
        bases = [
            hamburger_bases(self.state.discriminator, key, purpose, first=self._first(), count=self.batch)
            for purpose in purposes
        ]
        return None if bases[0] is None else tf.concat(bases, axis=0)

    def _update_discriminator(self, images: tf.Tensor, labels: tf.Tensor, key: tf.Tensor) -> Metrics:
        fakes, fake_labels = self._fake(key)
        discriminator = self.state.discriminator
        bases = self._discriminator_bases(key, Purpose.DISCRIMINATOR_BASES_REAL, Purpose.DISCRIMINATOR_BASES_FAKE)
        with tf.GradientTape() as tape:
            # Real and fake in one pass: nothing in the discriminator looks across the batch.
            logits = discriminator(
                tf.concat([images, fakes], axis=0),
                tf.concat([labels, fake_labels], axis=0),
                training=True,
                initial_bases=bases,
            )
            real_logits, fake_logits = tf.split(logits, 2)
            loss = hinge_discriminator_loss(real_logits, fake_logits)
            scaled_loss = self._scaled(loss)
        _apply(tape, scaled_loss, self.state.discriminator_optimizer, discriminator)
        return {
            "discriminator_loss": loss,
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
        _apply(tape, scaled_loss, self.state.generator_optimizer, generator)
        return {"generator_loss": loss}

    def _scaled(self, loss: tf.Tensor) -> tf.Tensor:
        """Keras optimizers sum gradients over replicas; the loss is the mean over the global batch."""
        return loss / self.num_replicas

    def _update_average(self, average: Generator, step: tf.Tensor) -> None:
        """Moves the average's trainable weights; the statistics and singular vectors follow the generator's."""
        # Early on the average would be mostly initial weights: it warms up as 1/10, 2/11, ...
        steps = tf.cast(step, tf.float32)
        decay = tf.minimum(self.config.ema_decay, (1.0 + steps) / (10.0 + steps))
        generator = self.state.generator
        trainable = {variable.path for variable in average.trainable_variables}

        def update_all(strategy: tf.distribute.Strategy, decay: tf.Tensor) -> None:
            for target, source in zip(average.weights, generator.weights, strict=True):
                share = decay if target.path in trainable else 0.0
                strategy.extended.update(target.value, _move_towards, args=(source.value, share))

        # Every replica holds the same weights: each moves its own copy and nothing is sent.
        tf.distribute.get_replica_context().merge_call(update_all, args=(decay,))


def _move_towards(target: tf.Variable, source: tf.Tensor, decay: tf.Tensor | float) -> tf.Operation:
    return target.assign(target * decay + source * (1.0 - decay))


def _apply(tape: tf.GradientTape, loss: tf.Tensor, optimizer: keras.optimizers.Optimizer, network: keras.Model) -> None:
    variables = network.trainable_variables
    gradients = tape.gradient(loss, [variable.value for variable in variables])
    optimizer.apply(gradients, variables)


TrainFunction = Callable[[Iterator, tf.Tensor], Metrics]


def make_train_function(state: TrainState, config: ExperimentConfig, strategy: tf.distribute.Strategy) -> TrainFunction:
    """Returns a compiled function (iterator, number of steps) -> mean metrics that takes many steps per call."""
    step = TrainStep(state, config, strategy)

    @tf.function
    def train(iterator: Iterator, num_steps: tf.Tensor) -> Metrics:
        totals = {name: tf.zeros(()) for name in METRIC_NAMES}
        for _ in tf.range(num_steps):
            batches = tuple([next(iterator) for _ in range(config.train.discriminator_updates)])
            metrics = strategy.run(step, args=(batches, tf.identity(state.step)))
            totals = {
                name: total + strategy.reduce(tf.distribute.ReduceOp.MEAN, metrics[name], axis=None)
                for name, total in totals.items()
            }
            state.step.assign_add(1)
        return {name: total / tf.cast(num_steps, tf.float32) for name, total in totals.items()}

    return train
