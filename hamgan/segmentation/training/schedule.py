"""Learning rate over time."""

from typing import Any

import keras
import tensorflow as tf

from hamgan.config import SegmentationTrainConfig


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up, then a polynomial of the iteration or a constant.

    With iterations i from 1 to I and W steps of warm-up, "poly" is ``base * (1 - (j - W) / (I - W))^power``, where j is
    i rounded down to a multiple of ``decay_every``: the published learning rate changes every tenth iteration. During
    the warm-up it is ``base * (factor + (1 - factor) * (i - 1) / W)``.

    Args:
        config: config of the training.
    """

    def __init__(self, config: SegmentationTrainConfig) -> None:
        self.config = config

    def __call__(self, step: int | tf.Tensor) -> tf.Tensor:
        """Returns the learning rate, float32.

        Args:
            step: number of iterations before this one.
        """
        config = self.config
        # In float64, because float32 has no exact counts above 2^24.
        iteration = tf.cast(step, tf.float64) + 1
        factor = tf.ones_like(iteration)
        if config.schedule == "poly":
            rounded = tf.floor(iteration / config.decay_every) * config.decay_every
            after = tf.maximum(rounded - config.warmup_steps, 0) / max(config.steps - config.warmup_steps, 1)
            factor = tf.maximum(1 - after, 0) ** config.power
        if config.warmup_steps:
            risen = (iteration - 1) / config.warmup_steps
            rising = config.warmup_factor + (1 - config.warmup_factor) * risen
            factor = tf.where(risen < 1, rising, factor)
        return tf.cast(config.learning_rate * factor, tf.float32)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"config": self.config}
