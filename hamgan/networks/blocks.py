"""Residual blocks of the generator and discriminator, with spectral normalisation as in SAGAN."""

from typing import Any

import keras
import tensorflow as tf

from hamgan.layers import ConditionalBatchNormalization, SNConv2D
from hamgan.layers.activation import relu
from hamgan.layers.batch_normalization import EvaluationStatistics
from hamgan.layers.convolution import Resampling
from hamgan.layers.input_shapes import image_channels

Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable(package="hamgan")
class GeneratorBlock(keras.Layer):
    """Residual block that doubles height and width, conditioned on class labels.

    Main path: conditional batch normalisation, relu, upsampling by two, 3x3 convolution, conditional batch
    normalisation, relu, 3x3 convolution. Shortcut: upsampling by two, 1x1 convolution.

    Args:
        channels: number of output channels.
        num_classes: number of classes.
        batch_norm_momentum: decay of the moving averages, in [0, 1).
    """

    def __init__(
        self,
        channels: int,
        *,
        num_classes: int,
        batch_norm_momentum: float = 0.999,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.autocast = False  # Autocast would round float labels; call() casts the images.
        self.channels = channels
        self.num_classes = num_classes
        self.batch_norm_momentum = batch_norm_momentum
        common: dict[str, Any] = {"dtype": self.dtype_policy}
        norm: dict[str, Any] = {"momentum": batch_norm_momentum, **common}
        self.norm1 = ConditionalBatchNormalization(num_classes, name="norm1", **norm)
        self.conv1 = SNConv2D(channels, 3, resampling="up", name="conv1", **common)
        self.norm2 = ConditionalBatchNormalization(num_classes, name="norm2", **norm)
        self.conv2 = SNConv2D(channels, 3, name="conv2", **common)
        self.shortcut = SNConv2D(channels, 1, resampling="up", name="shortcut", **common)

    def build(self, input_shape: Shape) -> None:
        """Creates the weights of all sublayers."""
        image_channels(self, input_shape)
        inner = self.compute_output_shape(input_shape)
        for layer, shape in (
            (self.norm1, input_shape),
            (self.conv1, input_shape),
            (self.norm2, inner),
            (self.conv2, inner),
            (self.shortcut, input_shape),
        ):
            layer.build(shape)

    def call(
        self,
        inputs: tf.Tensor,
        labels: tf.Tensor | None = None,
        training: bool | None = None,
        statistics: EvaluationStatistics = "moving",
        class_weights: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Applies the block.

        Args:
            inputs: tensor of shape ``(batch, height, width, in_channels)``.
            labels: integers in [0, num_classes), shape ``(batch,)`` or ``(batch, 1)``; not used with ``class_weights``.
            training: whether to use batch statistics, and to update moving averages and singular vectors.
            statistics: batch normalisation statistics outside training, see
                :meth:`hamgan.layers.BatchNormalization.call`.
            class_weights: weight of each class, float32 or float64, shape ``(batch, num_classes)``; rows sum to 1.

        Returns:
            Tensor of shape ``(batch, 2 * height, 2 * width, channels)``.
        """
        inputs = tf.cast(inputs, self.compute_dtype)
        norm_arguments: dict[str, Any] = {
            "training": training,
            "statistics": statistics,
            "class_weights": class_weights,
        }
        hidden = relu(self.norm1(inputs, labels, **norm_arguments))
        hidden = self.conv1(hidden, training=training)
        hidden = relu(self.norm2(hidden, labels, **norm_arguments))
        hidden = self.conv2(hidden, training=training)
        return hidden + self.shortcut(inputs, training=training)

    def compute_output_shape(self, input_shape: Shape, *_: Shape) -> Shape:
        """Returns ``(batch, 2h, 2w, channels)``."""
        batch, height, width, _channels = input_shape
        return (batch, height and 2 * height, width and 2 * width, self.channels)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "channels": self.channels,
            "num_classes": self.num_classes,
            "batch_norm_momentum": self.batch_norm_momentum,
        }


@keras.saving.register_keras_serializable(package="hamgan")
class DiscriminatorBlock(keras.Layer):
    """Residual block that halves height and width, or keeps them.

    Main path: relu, 3x3 convolution, relu, 3x3 convolution, 2x2 average pooling. Shortcut: 1x1 convolution, 2x2 average
    pooling.

    Args:
        channels: number of output channels.
        first: whether this is the first block of a network, which omits the first relu.
        pool: whether to halve height and width. Without pooling, the shortcut is the identity, and ``channels`` must
            equal the number of input channels.
    """

    def __init__(self, channels: int, *, first: bool = False, pool: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.channels = channels
        self.first = first
        self.pool = pool
        common: dict[str, Any] = {"dtype": self.dtype_policy}
        resampling: Resampling | None = "down" if pool else None
        self.conv1 = SNConv2D(channels, 3, name="conv1", **common)
        self.conv2 = SNConv2D(channels, 3, resampling=resampling, name="conv2", **common)
        self.shortcut = SNConv2D(channels, 1, resampling="down", name="shortcut", **common) if pool else None

    def build(self, input_shape: Shape) -> None:
        """Creates the weights of all sublayers."""
        channels = image_channels(self, input_shape)
        if self.shortcut is None and channels != self.channels:
            raise ValueError(
                f"{self.name} has an identity shortcut and expects {self.channels} channels, received {input_shape}"
            )
        self.conv1.build(input_shape)
        self.conv2.build((*input_shape[:-1], self.channels))
        if self.shortcut is not None:
            self.shortcut.build(input_shape)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Applies the block.

        Args:
            inputs: tensor of shape ``(batch, height, width, in_channels)``.
            training: whether to update the singular vectors.

        Returns:
            Tensor of shape ``(batch, height / 2, width / 2, channels)``, or of the input's shape without pooling.
        """
        hidden = inputs if self.first else relu(inputs)
        hidden = self.conv1(hidden, training=training)
        hidden = self.conv2(relu(hidden), training=training)
        if self.shortcut is None:
            return hidden + inputs
        # Pooling commutes with the sum.
        return hidden + self.shortcut(inputs, training=training)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns ``(batch, h / 2, w / 2, channels)``, or the input's shape without pooling."""
        batch, height, width, _channels = input_shape
        if not self.pool:
            return input_shape
        return (batch, height and height // 2, width and width // 2, self.channels)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "channels": self.channels,
            "first": self.first,
            "pool": self.pool,
        }
