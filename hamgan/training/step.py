"""The training step: discriminator updates, then generator updates."""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from hamgan import random_streams
from hamgan.config import ExperimentConfig, TrainConfig
from hamgan.distribution.strategies import replica_batch, share_of_batch
from hamgan.layers.replica_sum import sum_over_replicas
from hamgan.layers.spectral_normalization import spectrally_normalized_layers
from hamgan.networks import Generator
from hamgan.random_streams import Purpose
from hamgan.training.discriminator_loss import DiscriminatorLoss
from hamgan.training.losses import hinge_generator_loss
from hamgan.training.order import computed_after
from hamgan.training.partial_batches import PartialBatches
from hamgan.training.state import TrainState
from hamgan.training.task import Metrics, TrainingStep

Gradients = list[tf.Tensor]
METRIC_NAMES = (
    "discriminator_loss",
    "generator_loss",
    "real_logits",
    "fake_logits",
    "discriminator_gradient_norm",
    "generator_gradient_norm",
)
"""Metrics of every step. Penalties add their own."""


def part_size(config: TrainConfig, strategy: tf.distribute.Strategy) -> int:
    """Returns the number of images that a replica processes at once.

    Raises:
        UserError: if the global batch cannot be divided into parts of equal size.
    """
    batch = replica_batch(config.global_batch, strategy)
    return share_of_batch(batch, config.accumulation, "parts of each replica (train.accumulation)")


class TrainStep(TrainingStep):
    """The training step that each replica runs on its share of the batch, through ``strategy.run``.

    Each discriminator update uses a new batch of real images. Each update of either network draws new latent vectors,
    labels, bases and augmentations, which depend only on the stream, the step, the update and the index in the global
    batch.

    With ``train.accumulation`` N, each replica processes its share in N parts, one after the other, and applies the sum
    of their gradients. This equals N times as many replicas whose batch normalisation is not synchronised: statistics
    cover the parts with the same number on all replicas. See :class:`PartialBatches` for the networks' state.

    Args:
        state: state to train, created in the scope of the strategy.
        config: config of the experiment.
        strategy: strategy that runs the step.
        class_counts: number of images of each class, in proportion to which labels of fakes are drawn; None draws all
            classes equally often.

    Raises:
        UserError: if the global batch cannot be divided into parts of equal size.
    """

    state: TrainState

    def __init__(
        self,
        state: TrainState,
        config: ExperimentConfig,
        strategy: tf.distribute.Strategy,
        class_counts: Sequence[int] | None = None,
    ) -> None:
        self.state = state
        self.config = config.train
        self.batches_per_step = config.train.discriminator_updates
        self.class_counts = class_counts
        self.num_replicas = strategy.num_replicas_in_sync
        self.part_size = part_size(config.train, strategy)
        self._generate = PartialBatches(state.generator, config.train.accumulation)
        self._discriminate = PartialBatches(state.discriminator, config.train.accumulation)
        self._loss = DiscriminatorLoss(
            state.discriminator, self._discriminate, config.augmentation, config.regularization
        )
        self._spectrally_normalized = {
            layer.path: layer
            for network in (state.generator, state.discriminator)
            for layer in spectrally_normalized_layers(network)
        }

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Names of the metrics of a step."""
        return (*METRIC_NAMES, *self._loss.penalties)

    def __call__(self, batches: tuple[tuple[tf.Tensor, tf.Tensor], ...], step: tf.Tensor, stream: tf.Tensor) -> Metrics:
        """Takes one step.

        Args:
            batches: images in [-1, 1], shape ``(batch, height, width, channels)``, and labels, shape ``(batch,)``,
                for each discriminator update.
            step: number of previous steps.
            stream: random stream of the run, from :func:`hamgan.random_streams.run_stream`.

        Returns:
            Scalar metrics of this replica by name. Gradient norms are those of the replica's share of the batch.
        """
        metrics: Metrics = {}
        key = random_streams.fold(stream, step)
        for update, (images, labels) in enumerate(batches):
            update_key = random_streams.fold(key, Purpose.DISCRIMINATOR_UPDATE, update)
            number = tf.cast(step, tf.int64) * self.config.discriminator_updates + update
            metrics.update(self._update_discriminator(images, labels, update_key, number))
            key = computed_after(key, metrics["discriminator_gradient_norm"])
        for update in range(self.config.generator_updates):
            update_key = random_streams.fold(key, Purpose.GENERATOR_UPDATE, update)
            metrics.update(self._update_generator(update_key))
            key = computed_after(key, metrics["generator_gradient_norm"])
            if self.state.ema_generator is not None:
                self._update_average(self.state.ema_generator, step)
        return {name: tf.cast(metric, tf.float32) for name, metric in metrics.items()}

    @property
    def layers_with_singular_values(self) -> list[str]:
        """The paths of the spectrally normalised layers, in the order of :meth:`singular_values`."""
        return list(self._spectrally_normalized)

    def singular_values(self) -> tf.Tensor:
        """Returns the estimated largest singular value of each spectrally normalised kernel, shape ``(layers,)``."""
        values = [layer.largest_singular_value() for layer in self._spectrally_normalized.values()]
        return tf.cast(tf.stack(values), tf.float32)

    def _first(self, part: int) -> tf.Tensor:
        """Returns the index in the global batch of the first example of a part."""
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        return (tf.cast(replica, tf.int64) * self.config.accumulation + part) * self.part_size

    def _fake(self, key: tf.Tensor, first: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        inputs = self.state.generator.draw_inputs(
            key, first=first, count=self.part_size, class_counts=self.class_counts, training=True
        )
        return self._generate(*inputs), inputs.labels

    def _update_discriminator(self, images: tf.Tensor, labels: tf.Tensor, key: tf.Tensor, number: tf.Tensor) -> Metrics:
        """Updates the discriminator after ``number`` previous updates."""
        discriminator, averages = self.state.discriminator, self.state.logit_averages

        def gradients_of(part: int, key: tf.Tensor) -> tuple[Gradients, Metrics]:
            first = self._first(part)
            fakes = self._fake(key, first)
            rows = slice(part * self.part_size, (part + 1) * self.part_size)
            reals = (tf.cast(images[rows], fakes[0].dtype), labels[rows])
            return self._loss.gradients(
                reals,
                fakes,
                key,
                first=first,
                count=self.part_size,
                number=number,
                averages=averages,
                divisor=self._divisor,
            )

        self._generate.begin()
        self._discriminate.begin()
        gradients, metrics = self._accumulated(gradients_of, key)
        self._generate.end()
        self._discriminate.end()
        if averages is not None:
            self._update_logit_averages(averages, metrics)
        norm = self._apply(gradients, self.state.discriminator_optimizer, discriminator)
        return {**metrics, "discriminator_gradient_norm": norm}

    def _update_generator(self, key: tf.Tensor) -> Metrics:
        generator, discriminator = self.state.generator, self.state.discriminator

        def gradients_of(part: int, key: tf.Tensor) -> tuple[Gradients, Metrics]:
            first = self._first(part)
            bases = discriminator.draw_initial_bases(
                key, Purpose.DISCRIMINATOR_BASES_FAKE, first=first, count=self.part_size
            )
            variables = [variable.value for variable in generator.trainable_variables]
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(variables)
                fakes, labels = self._fake(key, first)
                seen = self._loss.augmented(fakes, key, Purpose.AUGMENTATION_FAKE, first=first)
                # training=False, because only discriminator updates change the discriminator's state.
                logits = discriminator(seen, labels, training=False, initial_bases=bases)
                loss = hinge_generator_loss(logits)
                scaled_loss = loss / self._divisor
            return tape.gradient(scaled_loss, variables), {"generator_loss": loss}

        self._generate.begin()
        gradients, metrics = self._accumulated(gradients_of, key)
        self._generate.end()
        norm = self._apply(gradients, self.state.generator_optimizer, generator)
        return {**metrics, "generator_gradient_norm": norm}

    @property
    def _divisor(self) -> int:
        """Divisor of the loss of a part: gradients are summed over parts, and by Keras optimizers over replicas."""
        return self.num_replicas * self.config.accumulation

    def _accumulated(
        self, gradients_of: Callable[[int, tf.Tensor], tuple[Gradients, Metrics]], key: tf.Tensor
    ) -> tuple[Gradients, Metrics]:
        """Returns the sum of the gradients and the mean of the metrics over all parts."""
        parts = self.config.accumulation
        gradients, metrics = gradients_of(0, key)
        # Unrolled: replicas cannot communicate in a loop, and TensorFlow 2.21 fails on loops within the train function.
        for part in range(1, parts):
            key = computed_after(key, tf.linalg.global_norm(gradients))
            more = gradients_of(part, key)
            gradients, metrics = tf.nest.map_structure(tf.add, (gradients, metrics), more)
        return gradients, metrics if parts == 1 else {name: value / parts for name, value in metrics.items()}

    def _apply(self, gradients: Gradients, optimizer: keras.optimizers.Optimizer, network: keras.Model) -> tf.Tensor:
        """Updates the network and returns the gradient norm of the unscaled loss."""
        optimizer.apply(gradients, network.trainable_variables)
        return tf.linalg.global_norm(gradients) * self.num_replicas

    def _update_logit_averages(self, averages: tf.Variable, metrics: Metrics) -> None:
        """Moves the averages of the logits towards the means over all replicas."""
        logits = tf.cast(tf.stack([metrics["real_logits"], metrics["fake_logits"]]), averages.dtype)
        mean = sum_over_replicas(logits) / self.num_replicas
        averages.assign(averages + (1.0 - self._loss.regularization.lecam_decay) * (mean - averages))

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


def _copy(target: tf.Variable, source: tf.Tensor) -> tf.Operation:
    return target.assign(source)


def _move_towards(target: tf.Variable, source: tf.Tensor, share: tf.Tensor) -> tf.Operation:
    """Adds ``share * (source - target)`` in place, with a single temporary."""
    source = tf.convert_to_tensor(source)
    return tf.raw_ops.ResourceApplyGradientDescent(
        var=target.handle, alpha=tf.cast(share, target.dtype), delta=target - source
    )
