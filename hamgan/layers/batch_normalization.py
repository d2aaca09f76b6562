"""Batch normalisation over all replicas, plain and class-conditional."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import keras
import tensorflow as tf

from hamgan.layers.class_lookup import class_labels, class_rows
from hamgan.layers.gradients import custom_gradient
from hamgan.layers.input_shapes import image_channels
from hamgan.layers.precision import accumulation_dtype

EvaluationStatistics = Literal["moving", "batch", "accumulate"]
Statistics = Sequence[tf.Tensor]
"""Mean, variance and number of positions, each of shape ``(channels,)``."""


def _sum_over_replicas(values: tf.Tensor) -> tf.Tensor:
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return values
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, values)


def _statistics(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Mean and variance over batch, height, width and every replica, and how many positions that is."""
    axes = (0, 1, 2)
    # Sums and counts, not means: the last batch of a data set gives replicas unequal shares, or none at all.
    count = tf.fill((images.shape[-1],), tf.cast(tf.reduce_prod(tf.shape(images)[:3]), images.dtype))
    sums = tf.stack([tf.reduce_sum(images, axes), tf.reduce_sum(tf.square(images), axes), count])
    total, total_of_squares, count = tf.unstack(_sum_over_replicas(sums))
    positions = tf.maximum(count, 1.0)
    mean = total / positions
    # Rounding can take the difference below zero.
    return mean, tf.maximum(total_of_squares / positions - tf.square(mean), 0.0), count


def _affine(
    inputs: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, mean: tf.Tensor, inverse_deviation: tf.Tensor
) -> tf.Tensor:
    scale = gamma * inverse_deviation
    offset = beta - mean * scale
    return inputs * tf.cast(scale, inputs.dtype) + tf.cast(offset, inputs.dtype)


def _normalize_by_batch(
    inputs: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float, statistics: Statistics | None
) -> tuple[tf.Tensor, Statistics]:
    """Normalises by the statistics over batch, height, width and every replica; returns the statistics too.

    gamma and beta have shape ``(channels,)`` or ``(batch, 1, 1, channels)``. The gradient is the closed form, with half
    the passes over the images that differentiating operation by operation takes; it is the same where ``statistics``
    are these inputs' own, known already. It is made of differentiable operations on the inputs, and so can be
    differentiated itself.
    """

    @custom_gradient
    def call(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> tuple[tuple[tf.Tensor, ...], Any]:
        wide = tf.cast(x, gamma.dtype)
        mean, variance, count = statistics or _statistics(wide)
        inverse_deviation = tf.math.rsqrt(variance + epsilon)

        def grad(
            upstream: tf.Tensor, to_mean: tf.Tensor, to_variance: tf.Tensor, _to_count: tf.Tensor
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            upstream = tf.cast(upstream, gamma.dtype)
            is_per_image = gamma.shape.rank == 4
            axes = (1, 2) if is_per_image else (0, 1, 2)
            to_beta = tf.reduce_sum(upstream, axes, keepdims=is_per_image)
            of_products = tf.reduce_sum(upstream * wide, axes, keepdims=is_per_image)
            to_gamma = (of_products - mean * to_beta) * inverse_deviation
            # What the mean and the deviation hand back: sums of gamma * upstream, alone and times the outputs.
            sums = tf.stack([gamma * to_beta, gamma * to_gamma])
            if is_per_image:
                sums = tf.reduce_sum(sums, (1, 2, 3))
            sums = tf.concat([sums, tf.stack([to_mean, to_variance])], axis=0)
            by_mean, by_deviation, to_mean, to_variance = tf.unstack(_sum_over_replicas(sums) / tf.maximum(count, 1.0))
            slope = 2.0 * to_variance - tf.square(inverse_deviation) * by_deviation
            offset = to_mean - inverse_deviation * by_mean - slope * mean
            to_inputs = upstream * (gamma * inverse_deviation) + (wide * slope + offset)
            return tf.cast(to_inputs, x.dtype), to_gamma, to_beta

        return (_affine(x, gamma, beta, mean, inverse_deviation), mean, variance, count), grad

    outputs, *own_statistics = call(inputs, gamma, beta)
    return outputs, own_statistics


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
        channels = image_channels(self, input_shape)
        affine = self._affine_shape(channels)
        self.gamma = self.add_weight(name="gamma", shape=affine, initializer="ones", autocast=False)
        self.beta = self.add_weight(name="beta", shape=affine, initializer="zeros", autocast=False)
        # Never in half precision: a bfloat16 moving average with decay 0.999 does not move.
        self.moving_mean, self.moving_variance = (
            self.add_weight(
                name=name,
                shape=(channels,),
                initializer=initializer,
                trainable=False,
                dtype=accumulation_dtype(self.variable_dtype).name,
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
            gamma, beta = tf.cast(gamma, mean.dtype), tf.cast(beta, mean.dtype)
            return _affine(inputs, gamma, beta, mean, tf.math.rsqrt(variance + self.epsilon))
        outputs, statistics = self.normalize_by_batch(inputs, gamma, beta)
        if training:
            self.update_averages(statistics)
        elif self.evaluation_statistics == "accumulate":
            for average, value in zip((self.moving_mean, self.moving_variance), statistics[:2], strict=True):
                average.assign(average + value * self.accumulation_weight)
        return outputs

    def normalize_by_batch(
        self, inputs: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, statistics: Statistics | None = None
    ) -> tuple[tf.Tensor, Statistics]:
        """Returns the outputs and the batch's statistics, which may be given if they are known already."""
        dtype = accumulation_dtype(gamma.dtype)
        return _normalize_by_batch(inputs, tf.cast(gamma, dtype), tf.cast(beta, dtype), self.epsilon, statistics)

    def update_averages(self, statistics: Statistics) -> None:
        """Moves the moving averages towards a batch's mean and variance; a batch without images moves nothing."""
        mean, variance, count = statistics
        weight = (1 - self.momentum) * tf.minimum(count, 1.0)
        for average, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            average.assign(average * (1.0 - weight) + value * weight)

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

    Called with images ``(batch, height, width, channels)`` and labels ``(batch,)`` or ``(batch, 1)``, see
    :func:`hamgan.layers.class_lookup.class_labels`. The statistics do not depend on the labels.

    Reference: Dumoulin et al., A Learned Representation for Artistic Style (ICLR 2017).
    """

    def __init__(self, num_classes: int, *, momentum: float = 0.999, epsilon: float = 1e-3, **kwargs: Any) -> None:
        super().__init__(momentum=momentum, epsilon=epsilon, **kwargs)
        if num_classes < 1:
            raise ValueError(f"num_classes must be positive, received {num_classes}")
        self.num_classes = num_classes
        # Labels that come as floats must not be rounded; call() casts the images.
        self.autocast = False

    def _affine_shape(self, channels: int) -> tuple[int, ...]:
        return (self.num_classes, channels)

    def call(self, inputs: tf.Tensor, labels: tf.Tensor, training: bool | None = None) -> tf.Tensor:  # type: ignore[override]
        """Normalises ``inputs`` with each image's own class's gamma and beta."""
        labels = class_labels(labels, self.num_classes, layer=self.name, examples=inputs)
        return self._normalize(tf.cast(inputs, self.compute_dtype), *self.affine_weights(labels), training)

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
