"""Batch normalisation over all replicas, plain and class-conditional."""

from typing import Any, Literal, get_args

import keras
import tensorflow as tf

from hamgan.layers.class_lookup import class_rows

EvaluationStatistics = Literal["moving", "batch", "accumulate"]


def _global_moments(inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and variance E[x^2] - E[x]^2 per channel over batch, height, width and every replica."""
    moments = tf.stack([tf.reduce_mean(inputs, (0, 1, 2)), tf.reduce_mean(tf.square(inputs), (0, 1, 2))])
    replica = tf.distribute.get_replica_context()
    if replica is not None and replica.num_replicas_in_sync > 1:
        # One reduction for both; replicas hold equal shares of the batch.
        moments = replica.all_reduce(tf.distribute.ReduceOp.SUM, moments) / replica.num_replicas_in_sync
    mean, mean_of_squares = tf.unstack(moments)
    # Rounding can take the difference below zero.
    return mean, tf.maximum(mean_of_squares - tf.square(mean), 0.0)


@keras.saving.register_keras_serializable(package="hamgan")
class BatchNormalization(keras.Layer):
    """gamma * (x - mean) / sqrt(variance + epsilon) + beta, with statistics over all replicas.

    Args:
        momentum: decay of the moving averages, in [0, 1).
        epsilon: added to the variance.

    Input and output ``(batch, height, width, channels)``. ``training=True`` uses the batch's statistics and
    updates the moving averages; otherwise the moving averages are used, unless ``evaluation_statistics`` says so.

    Attributes:
        evaluation_statistics: what normalises outside of training. "moving": the moving averages. "batch": the batch's
            own statistics; nothing is updated. "accumulate": the batch's own statistics, of which the moving averages
            gain ``accumulation_weight`` each. A mode and not a part of the config; read when a function is traced.
        accumulation_weight: 1 / N leaves, from moving averages at zero, the mean over N batches.

    Reference: SPEC of the published system; the variance is the biased E[x^2] - E[x]^2, unlike
    ``keras.layers.BatchNormalization``, whose statistics are per replica unless asked otherwise.
    """

    def __init__(self, *, momentum: float = 0.999, epsilon: float = 1e-3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), received {momentum}")
        self.momentum = momentum
        self.epsilon = epsilon
        self.evaluation_statistics: EvaluationStatistics = "moving"
        self.accumulation_weight = 0.0

    def _affine_shape(self, channels: int) -> tuple[int, ...]:
        return (channels,)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates gamma, beta and the moving averages."""
        channels = input_shape[-1]
        if len(input_shape) != 4 or channels is None:
            raise ValueError(
                f"{self.name} expects (batch, height, width, channels) with channels known, received {input_shape}"
            )
        affine = self._affine_shape(channels)
        # autocast=False: a bfloat16 moving average with decay 0.999 never moves.
        self.gamma = self.add_weight(name="gamma", shape=affine, initializer="ones", autocast=False)
        self.beta = self.add_weight(name="beta", shape=affine, initializer="zeros", autocast=False)
        self.moving_mean, self.moving_variance = (
            self.add_weight(
                name=name,
                shape=(channels,),
                initializer=initializer,
                trainable=False,
                autocast=False,
                aggregation="only_first_replica",
            )
            for name, initializer in (("moving_mean", "zeros"), ("moving_variance", "ones"))
        )

    def _statistics(self, inputs: tf.Tensor, training: bool | None) -> tuple[tf.Tensor, tf.Tensor]:
        if self.evaluation_statistics not in get_args(EvaluationStatistics):
            raise ValueError(
                f"evaluation_statistics of {self.name} must be one of {get_args(EvaluationStatistics)}, "
                f"received {self.evaluation_statistics!r}"
            )
        if not training and self.evaluation_statistics == "moving":
            return tf.convert_to_tensor(self.moving_mean), tf.convert_to_tensor(self.moving_variance)
        mean, variance = _global_moments(tf.cast(inputs, self.variable_dtype))
        for average, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            if training:
                average.assign(average * self.momentum + value * (1 - self.momentum))
            elif self.evaluation_statistics == "accumulate":
                average.assign(average + value * self.accumulation_weight)
        return mean, variance

    def _normalize(self, inputs: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, training: bool | None) -> tf.Tensor:
        mean, variance = self._statistics(inputs, training)
        scale = gamma * tf.math.rsqrt(variance + self.epsilon)
        offset = beta - mean * scale
        return inputs * tf.cast(scale, inputs.dtype) + tf.cast(offset, inputs.dtype)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Normalises ``inputs``."""
        return self._normalize(inputs, tf.convert_to_tensor(self.gamma), tf.convert_to_tensor(self.beta), training)

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...], *_: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        """Returns the input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "momentum": self.momentum, "epsilon": self.epsilon}


def batch_normalization_layers(model: keras.Model) -> list[BatchNormalization]:
    """Returns all batch normalisation layers inside a model, plain and conditional, at any depth."""
    return [layer for layer in model._flatten_layers() if isinstance(layer, BatchNormalization)]


@keras.saving.register_keras_serializable(package="hamgan")
class ConditionalBatchNormalization(BatchNormalization):
    """Batch normalisation whose gamma and beta, ``(num_classes, channels)``, are picked by label.

    Called with images ``(batch, height, width, channels)`` and integer labels ``(batch,)``. The statistics do not
    depend on the labels.

    Reference: Dumoulin et al., A Learned Representation for Artistic Style (ICLR 2017).
    """

    def __init__(self, num_classes: int, *, momentum: float = 0.999, epsilon: float = 1e-3, **kwargs: Any) -> None:
        super().__init__(momentum=momentum, epsilon=epsilon, **kwargs)
        if num_classes < 1:
            raise ValueError(f"num_classes must be positive, received {num_classes}")
        self.num_classes = num_classes

    def _affine_shape(self, channels: int) -> tuple[int, ...]:
        return (self.num_classes, channels)

    def call(self, inputs: tf.Tensor, labels: tf.Tensor, training: bool | None = None) -> tf.Tensor:  # type: ignore[override]
        """Normalises ``inputs`` with each image's own class's gamma and beta."""
        gamma, beta = (
            class_rows(tf.convert_to_tensor(table), labels)[:, tf.newaxis, tf.newaxis, :]
            for table in (self.gamma, self.beta)
        )
        return self._normalize(inputs, gamma, beta, training)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "num_classes": self.num_classes}
