"""Batch normalisation over all replicas, plain and class-conditional."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import keras
import tensorflow as tf

from hamgan.layers.class_lookup import class_rows
from hamgan.layers.gradients import custom_gradient

EvaluationStatistics = Literal["moving", "batch", "accumulate"]


def _mean_over_replicas(values: tf.Tensor) -> tf.Tensor:
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return values
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, values) / replica.num_replicas_in_sync


def _statistics(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and variance over batch, height, width and every replica."""
    # One reduction over replicas for both; they hold equal shares of the batch.
    moments = tf.stack([tf.reduce_mean(images, (0, 1, 2)), tf.reduce_mean(tf.square(images), (0, 1, 2))])
    mean, mean_of_squares = tf.unstack(_mean_over_replicas(moments))
    # Rounding can take the difference below zero.
    return mean, tf.maximum(mean_of_squares - tf.square(mean), 0.0)


def _affine(
    inputs: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, mean: tf.Tensor, inverse_deviation: tf.Tensor
) -> tf.Tensor:
    scale = gamma * inverse_deviation
    offset = beta - mean * scale
    return inputs * tf.cast(scale, inputs.dtype) + tf.cast(offset, inputs.dtype)


def _normalize_by_batch(
    inputs: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float, statistics: Sequence[tf.Tensor] | None
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Normalises by the statistics over batch, height, width and every replica; returns mean and variance too.

    gamma and beta have shape ``(channels,)`` or ``(batch, 1, 1, channels)``. The gradient is the closed form, with half
    the passes over the images that differentiating operation by operation takes; it is the same where ``statistics``
    are these inputs' mean and variance, known already.
    """

    @custom_gradient
    def call(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> tuple[tuple[tf.Tensor, tf.Tensor, tf.Tensor], Any]:
        x, gamma = tf.stop_gradient(x), tf.stop_gradient(gamma)
        wide = tf.cast(x, gamma.dtype)
        mean, variance = statistics or _statistics(wide)
        inverse_deviation = tf.math.rsqrt(variance + epsilon)

        def grad(upstream: tf.Tensor, *_: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            upstream = tf.cast(upstream, gamma.dtype)
            is_per_image = gamma.shape.rank == 4
            axes = (1, 2) if is_per_image else (0, 1, 2)
            to_beta = tf.reduce_sum(upstream, axes, keepdims=is_per_image)
            of_products = tf.reduce_sum(upstream * wide, axes, keepdims=is_per_image)
            to_gamma = (of_products - mean * to_beta) * inverse_deviation
            # What the mean and the deviation hand back: means of gamma * upstream, alone and times the outputs.
            sums = tf.stack([gamma * to_beta, gamma * to_gamma])
            if is_per_image:
                sums = tf.reduce_sum(sums, (1, 2, 3))
            count = tf.cast(tf.reduce_prod(tf.shape(x)[:3]), gamma.dtype)
            by_mean, by_deviation = tf.unstack(_mean_over_replicas(sums / count))
            slope = -tf.square(inverse_deviation) * by_deviation
            offset = -inverse_deviation * by_mean - slope * mean
            to_inputs = upstream * (gamma * inverse_deviation) + (wide * slope + offset)
            return tf.cast(to_inputs, x.dtype), to_gamma, to_beta

        return (_affine(x, gamma, beta, mean, inverse_deviation), mean, variance), grad

    return call(inputs, gamma, beta)


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

    def _normalize(self, inputs: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, training: bool | None) -> tf.Tensor:
        if self.evaluation_statistics not in get_args(EvaluationStatistics):
            raise ValueError(
                f"evaluation_statistics of {self.name} must be one of {get_args(EvaluationStatistics)}, "
                f"received {self.evaluation_statistics!r}"
            )
        if not training and self.evaluation_statistics == "moving":
            mean, variance = tf.convert_to_tensor(self.moving_mean), tf.convert_to_tensor(self.moving_variance)
            return _affine(inputs, gamma, beta, mean, tf.math.rsqrt(variance + self.epsilon))
        outputs, *statistics = self.normalize_by_batch(inputs, gamma, beta)
        if training:
            self.update_averages(statistics)
        elif self.evaluation_statistics == "accumulate":
            for average, value in zip((self.moving_mean, self.moving_variance), statistics, strict=True):
                average.assign(average + value * self.accumulation_weight)
        return outputs

    def normalize_by_batch(
        self, inputs: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, statistics: Sequence[tf.Tensor] | None = None
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns the outputs, mean and variance; ``statistics`` are the latter two, if they are known already."""
        return _normalize_by_batch(inputs, gamma, beta, self.epsilon, statistics)

    def update_averages(self, statistics: Sequence[tf.Tensor]) -> None:
        """Moves the moving averages towards a batch's mean and variance."""
        for average, value in zip((self.moving_mean, self.moving_variance), statistics, strict=True):
            average.assign(average * self.momentum + value * (1 - self.momentum))

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
        return self._normalize(inputs, *self.affine_weights(labels), training)

    def affine_weights(self, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns each image's gamma and beta, ``(batch, 1, 1, channels)``."""
        gamma, beta = (
            class_rows(tf.convert_to_tensor(table), labels)[:, tf.newaxis, tf.newaxis, :]
            for table in (self.gamma, self.beta)
        )
        return gamma, beta

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "num_classes": self.num_classes}
