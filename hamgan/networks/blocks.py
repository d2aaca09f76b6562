"""The residual blocks of generator and discriminator (BigGAN style, spectrally normalised)."""

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
    """relu(cBN), upsample, conv 3x3, relu(cBN), conv 3x3; shortcut: upsample, conv 1x1; sum.

    Args:
        channels: output channels.
        num_classes: number of classes of the conditional batch normalisation.
        batch_norm_momentum: decay of the moving averages.

    Images ``(batch, h, w, c)`` and labels, ``(batch,)`` or ``(batch, 1)``, to ``(batch, 2h, 2w, channels)``.
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
        self.autocast = False  # Labels that come as floats must not be rounded; call() casts the images.
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
        labels: tf.Tensor,
        training: bool | None = None,
        statistics: EvaluationStatistics = "moving",
    ) -> tf.Tensor:
        """Doubles height and width; see :meth:`hamgan.layers.BatchNormalization.call` for ``statistics``."""
        inputs = tf.cast(inputs, self.compute_dtype)
        hidden = relu(self.norm1(inputs, labels, training=training, statistics=statistics))
        hidden = self.conv1(hidden, training=training)
        hidden = relu(self.norm2(hidden, labels, training=training, statistics=statistics))
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
    """relu, conv 3x3, relu, conv 3x3, average pool; shortcut: conv 1x1, average pool; sum.

    Args:
        channels: output channels.
        first: the first block of a network, which has no relu before its first convolution.
        pool: whether height and width are halved. Without pooling the shortcut is the identity and the number of
            channels must stay the same.

    ``(batch, h, w, c)`` to ``(batch, h / 2, w / 2, channels)``.
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
        """Halves height and width, if ``pool``."""
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
