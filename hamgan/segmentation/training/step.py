"""The training step of a segmentation network."""

import tensorflow as tf

from hamgan import random_streams
from hamgan.config import SegmentationConfig
from hamgan.distribution.strategies import replica_batch
from hamgan.layers.replica_sum import sum_over_replicas
from hamgan.random_streams import Purpose
from hamgan.segmentation.data.masks import IGNORED
from hamgan.segmentation.networks.dropout import Noise
from hamgan.segmentation.training.loss import pixel_losses
from hamgan.segmentation.training.state import SegmentationState
from hamgan.training.task import Metrics, TrainingStep


class SegmentationStep(TrainingStep):
    """The training step that each replica runs on its share of the batch, through ``strategy.run``.

    Bases and dropout depend only on the stream, the step and the index in the global batch.

    Args:
        state: state to train, created in the scope of the strategy.
        config: config of the experiment.
        strategy: strategy that runs the step.

    Raises:
        UserError: if the global batch is not a multiple of the number of replicas.
    """

    state: SegmentationState

    def __init__(self, state: SegmentationState, config: SegmentationConfig, strategy: tf.distribute.Strategy) -> None:
        self.state = state
        self.num_replicas = strategy.num_replicas_in_sync
        self.share = replica_batch(config.train.global_batch, strategy)
        self.image_size = (config.augmentation.crop, config.augmentation.crop)
        # Given bases do not move running ones.
        self.draws_bases = config.model.head.bases == "random"

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Names of the metrics of a step."""
        return ("loss", "pixel_accuracy", "gradient_norm", "learning_rate")

    def __call__(self, batches: tuple[tuple[tf.Tensor, tf.Tensor], ...], step: tf.Tensor, stream: tf.Tensor) -> Metrics:
        """Takes one step; see :class:`hamgan.training.task.TrainingStep`.

        Args:
            batches: one batch of normalised images, shape ``(batch, height, width, 3)``, and masks, shape
                ``(batch, height, width)``.
            step: number of previous steps.
            stream: random stream of the run.

        Returns:
            Metrics by name. The gradient norm is that of the replica's share of the batch.
        """
        ((images, masks),) = batches
        network, optimizer = self.state.network, self.state.optimizer
        key = random_streams.fold(stream, step)
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        first = tf.cast(replica, tf.int64) * self.share
        bases = None
        if self.draws_bases:
            of_bases = random_streams.fold(key, Purpose.SEGMENTATION_BASES)
            bases = network.draw_initial_bases(of_bases, first=first, count=self.share, image_size=self.image_size)
        noise = Noise(random_streams.fold(key, Purpose.SEGMENTATION_DROPOUT), first)
        variables = [variable.value for variable in network.trainable_variables]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            images = tf.cast(images, network.variable_dtype)
            logits = network(images, training=True, initial_bases=bases, noise=noise)
            loss = tf.reduce_mean(pixel_losses(logits, masks))
            # The optimizer sums gradients over replicas.
            scaled_loss = loss / self.num_replicas
        gradients = tape.gradient(scaled_loss, variables)
        optimizer.apply(gradients, network.trainable_variables)
        metrics = {
            "loss": loss,
            "pixel_accuracy": _pixel_accuracy(logits, masks),
            "gradient_norm": tf.linalg.global_norm(gradients) * self.num_replicas,
            "learning_rate": self.state.schedule(step),
        }
        return {name: tf.cast(metric, tf.float32) for name, metric in metrics.items()}


def _pixel_accuracy(logits: tf.Tensor, masks: tf.Tensor) -> tf.Tensor:
    """Returns the share of the pixels of all replicas, without those to ignore, that are predicted right."""
    predictions = tf.argmax(logits, axis=-1, output_type=tf.int32)
    masks = tf.cast(masks, tf.int32)
    right, counted = (
        tf.reduce_sum(tf.cast(matches, tf.float32))
        for matches in (tf.equal(predictions, masks), tf.not_equal(masks, IGNORED))
    )
    right, counted = sum_over_replicas([right, counted])
    return right / tf.maximum(counted, 1.0)
