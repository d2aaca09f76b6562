"""Batch normalisation with statistics over all replicas, plain and class-conditional."""

import dataclasses
from typing import Any, Literal, NamedTuple, get_args

import keras
import tensorflow as tf

from hamgan.layers.class_lookup import class_condition, class_rows
from hamgan.layers.custom_gradient import custom_gradient
from hamgan.layers.input_shapes import image_channels
from hamgan.layers.precision import accumulation_dtype
from hamgan.layers.replica_sum import sum_over_replicas


@dataclasses.dataclass(frozen=True)
class Accumulate:
    """Mode that normalises by batch statistics, and adds ``weight`` times those to the moving averages.

    If the moving averages start at zero, N calls with weight 1 / N average the statistics of N batches.

    Args:
        weight: factor of the batch statistics.
    """

    weight: float


EvaluationStatistics = Literal["moving", "batch"] | Accumulate
"""Statistics that batch normalisation uses outside training."""
_NAMED = get_args(Literal["moving", "batch"])


class BatchStatistics(NamedTuple):
    """Batch statistics over all replicas, each of shape ``(channels,)``.

    Args:
        mean: mean over all positions.
        variance: biased variance over all positions.
        count: number of positions.
    """

    mean: tf.Tensor
    variance: tf.Tensor
    count: tf.Tensor


def _statistics(images: tf.Tensor) -> BatchStatistics:
    """Returns statistics over batch, height, width and replicas."""
    axes = (0, 1, 2)
    # Sums and counts, not means: the last batch of a data set may be split unevenly, or not reach every replica.
    count = tf.fill((images.shape[-1],), tf.cast(tf.reduce_prod(tf.shape(images)[:3]), images.dtype))
    sums = tf.stack([tf.reduce_sum(images, axes), tf.reduce_sum(tf.square(images), axes), count])
    total, total_of_squares, count = tf.unstack(sum_over_replicas(sums))
    positions = tf.maximum(count, 1.0)
    mean = total / positions
    # Rounding can make the difference negative.
    return BatchStatistics(mean, tf.maximum(total_of_squares / positions - tf.square(mean), 0.0), count)


def _affine(
    inputs: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, mean: tf.Tensor, inverse_deviation: tf.Tensor
) -> tf.Tensor:
    scale = gamma * inverse_deviation
    offset = beta - mean * scale
    return inputs * tf.cast(scale, inputs.dtype) + tf.cast(offset, inputs.dtype)


def normalize_by_batch(
    inputs: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float
) -> tuple[tf.Tensor, BatchStatistics]:
    """Normalises images by their batch statistics over all replicas.

    The gradient is computed in closed form, with half as many passes over the images as automatic differentiation. It
    consists of differentiable operations, so higher derivatives exist.

    Args:
        inputs: tensor of shape ``(batch, height, width, channels)``.
        gamma: scale of shape ``(channels,)`` or ``(batch, 1, 1, channels)``, in float32 or wider.
        beta: offset, with the shape and dtype of ``gamma``.
        epsilon: constant added to the variance.

    Returns:
        The outputs, with the shape and dtype of the inputs, and the batch statistics.
    """

    @custom_gradient
    def call(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> tuple[tuple[tf.Tensor, ...], Any]:
        wide = tf.cast(x, gamma.dtype)
        mean, variance, count = _statistics(wide)
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
            # Gradients through mean and deviation: sums of gamma * upstream, and of its product with the outputs.
            sums = tf.stack([gamma * to_beta, gamma * to_gamma])
            if is_per_image:
                sums = tf.reduce_sum(sums, (1, 2, 3))
            sums = tf.concat([sums, tf.stack([to_mean, to_variance])], axis=0)
            by_mean, by_deviation, to_mean, to_variance = tf.unstack(sum_over_replicas(sums) / tf.maximum(count, 1.0))
            slope = 2.0 * to_variance - tf.square(inverse_deviation) * by_deviation
            offset = to_mean - inverse_deviation * by_mean - slope * mean
            to_inputs = upstream * (gamma * inverse_deviation) + (wide * slope + offset)
            return tf.cast(to_inputs, x.dtype), to_gamma, to_beta

        return (_affine(x, gamma, beta, mean, inverse_deviation), mean, variance, count), grad

    outputs, *statistics = call(inputs, gamma, beta)
    return outputs, BatchStatistics(*statistics)


@keras.saving.register_keras_serializable(package="hamgan")
class BatchNormalization(keras.Layer):
    """Batch normalisation of images, with batch statistics over all replicas.

    ``gamma * (x - mean) / sqrt(variance + epsilon) + beta``, with the biased variance E[x^2] - E[x]^2. Inputs and
    outputs have shape ``(batch, height, width, channels)``. ``keras.layers.BatchNormalization`` computes statistics
    per replica unless ``synchronized=True``.

    Args:
        momentum: decay of the moving averages, in [0, 1).
        epsilon: constant added to the variance.
        unbiased_variance: whether the moving average is that of the unbiased variance of batches, as in PyTorch.

    Raises:
        ValueError: if ``momentum`` is out of range.

    Reference: Ioffe and Szegedy, Batch Normalization (ICML 2015), algorithm 1.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.layers import BatchNormalization
        >>> layer = BatchNormalization(momentum=0.9)
        >>> layer(tf.random.normal((2, 4, 4, 3)), training=True).shape
        TensorShape([2, 4, 4, 3])
    """

    def __init__(
        self, *, momentum: float = 0.999, epsilon: float = 1e-3, unbiased_variance: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), received {momentum}")
        self.momentum = momentum
        self.epsilon = epsilon
        self.unbiased_variance = unbiased_variance

    def _affine_shape(self, channels: int) -> tuple[int, ...]:
        return (channels,)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates gamma, beta and the moving averages."""
        channels = image_channels(self, input_shape)
        affine = self._affine_shape(channels)
        self.gamma = self.add_weight(name="gamma", shape=affine, initializer="ones", autocast=False)
        self.beta = self.add_weight(name="beta", shape=affine, initializer="zeros", autocast=False)
        # At least float32: a bfloat16 moving average with decay 0.999 does not change.
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

    def call(
        self, inputs: tf.Tensor, training: bool | None = None, statistics: EvaluationStatistics = "moving"
    ) -> tf.Tensor:
        """Normalises images.

        Args:
            inputs: tensor of shape ``(batch, height, width, channels)``.
            training: whether to normalise by batch statistics and to update the moving averages.
            statistics: statistics outside training: "moving" (the moving averages), "batch" (batch statistics, without
                an update) or :class:`Accumulate`.

        Returns:
            Tensor with the shape of the inputs.
        """
        gamma, beta = tf.convert_to_tensor(self.gamma), tf.convert_to_tensor(self.beta)
        return self._normalize(inputs, gamma, beta, training, statistics)

    def _normalize(
        self,
        inputs: tf.Tensor,
        gamma: tf.Tensor,
        beta: tf.Tensor,
        training: bool | None,
        statistics: EvaluationStatistics,
    ) -> tf.Tensor:
        if not isinstance(statistics, Accumulate) and statistics not in _NAMED:
            raise ValueError(f"statistics must be one of {_NAMED} or an Accumulate, received {statistics!r}")
        dtype = accumulation_dtype(gamma.dtype)
        gamma, beta = tf.cast(gamma, dtype), tf.cast(beta, dtype)
        if not training and statistics == "moving":
            mean, variance = tf.convert_to_tensor(self.moving_mean), tf.convert_to_tensor(self.moving_variance)
            return _affine(inputs, gamma, beta, mean, tf.math.rsqrt(variance + self.epsilon))
        outputs, own = normalize_by_batch(inputs, gamma, beta, self.epsilon)
        if self.unbiased_variance:
            own = own._replace(variance=own.variance * own.count / tf.maximum(own.count - 1.0, 1.0))
        if training:
            self._update_averages(own)
        elif isinstance(statistics, Accumulate):
            for average, value in ((self.moving_mean, own.mean), (self.moving_variance, own.variance)):
                average.assign(average + value * statistics.weight)
        return outputs

    def _update_averages(self, statistics: BatchStatistics) -> None:
        """Updates the moving averages with batch statistics; an empty batch leaves them unchanged."""
        weight = (1 - self.momentum) * tf.minimum(statistics.count, 1.0)
        for average, value in ((self.moving_mean, statistics.mean), (self.moving_variance, statistics.variance)):
            average.assign(average * (1.0 - weight) + value * weight)

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...], *_: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        """Returns the input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "unbiased_variance": self.unbiased_variance,
        }


def batch_normalization_layers(model: keras.Model) -> list[BatchNormalization]:
    """Returns all batch normalisation layers of a model, plain and conditional, at any depth."""
    return [layer for layer in model._flatten_layers() if isinstance(layer, BatchNormalization)]


@keras.saving.register_keras_serializable(package="hamgan")
class ConditionalBatchNormalization(BatchNormalization):
    """Batch normalisation of images, with a gamma and a beta for each class.

    ``gamma[label] * (x - mean) / sqrt(variance + epsilon) + beta[label]``. gamma and beta have shape
    ``(num_classes, channels)``. All classes share the statistics. Inputs and outputs have shape
    ``(batch, height, width, channels)``. Instead of a label, an image may have a weight for each class: its gamma and
    beta are then weighted means over the classes.

    Args:
        num_classes: number of classes.
        momentum: decay of the moving averages, in [0, 1).
        epsilon: constant added to the variance.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Dumoulin et al., A Learned Representation for Artistic Style (ICLR 2017).

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.layers import ConditionalBatchNormalization
        >>> layer = ConditionalBatchNormalization(num_classes=10)
        >>> layer(tf.random.normal((2, 4, 4, 3)), tf.constant([3, 7]), training=True).shape
        TensorShape([2, 4, 4, 3])
    """

    def __init__(self, num_classes: int, *, momentum: float = 0.999, epsilon: float = 1e-3, **kwargs: Any) -> None:
        super().__init__(momentum=momentum, epsilon=epsilon, **kwargs)
        if num_classes < 1:
            raise ValueError(f"num_classes must be positive, received {num_classes}")
        self.num_classes = num_classes
        # Autocast would round float labels; call() casts the images.
        self.autocast = False

    def _affine_shape(self, channels: int) -> tuple[int, ...]:
        return (self.num_classes, channels)

    def call(  # type: ignore[override]
        self,
        inputs: tf.Tensor,
        labels: tf.Tensor | None = None,
        training: bool | None = None,
        statistics: EvaluationStatistics = "moving",
        class_weights: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Normalises images, each with the gamma and beta of its class, or of its mixture of classes.

        Args:
            inputs: tensor of shape ``(batch, height, width, channels)``.
            labels: integers in [0, num_classes), shape ``(batch,)`` or ``(batch, 1)``; not used with ``class_weights``.
            training: whether to normalise by batch statistics and to update the moving averages.
            statistics: statistics outside training, see :meth:`BatchNormalization.call`.
            class_weights: weight of each class, float32 or float64, shape ``(batch, num_classes)``; rows sum to 1.

        Returns:
            Tensor with the shape of the inputs.

        Raises:
            ValueError: if there is not one valid label, or row of class weights, per image.
        """
        condition = class_condition(labels, class_weights, self.num_classes, layer=self.name, examples=inputs)
        gamma, beta = (
            class_rows(tf.convert_to_tensor(table), **condition)[:, tf.newaxis, tf.newaxis, :]
            for table in (self.gamma, self.beta)
        )
        return self._normalize(tf.cast(inputs, self.compute_dtype), gamma, beta, training, statistics)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "num_classes": self.num_classes}
