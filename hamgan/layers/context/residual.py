"""What context modules share: the residual sum, batch normalisation of the branch, and 1x1 convolutions."""

from typing import Any

import keras
import tensorflow as tf

from hamgan.layers.batch_normalization import (
    BatchNormalization,
    ConditionalBatchNormalization,
    EvaluationStatistics,
)
from hamgan.layers.context.module import ContextModule
from hamgan.layers.input_shapes import image_channels
from hamgan.layers.precision import add_bias
from hamgan.layers.spectral_normalization import SNConv2D

BATCH_NORMALIZATIONS = (None, "plain", "conditional")


class PlainConvolution(keras.layers.Conv2D):
    """A convolution that accumulates the gradient of its bias in float32 or wider."""

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Convolves images."""
        outputs = self.convolution_op(inputs, self.kernel)
        return add_bias(outputs, tf.convert_to_tensor(self.bias)) if self.use_bias else outputs


class ResidualContext(ContextModule):
    """Base class of context modules: ``x + sigma * batch_norm(context(x))``.

    Subclasses create their weights in ``build_context`` and compute the branch in ``context``. Their 1x1 convolutions
    come from ``conv``.

    Args:
        spectral_norm: whether to divide the kernels of the 1x1 convolutions by their spectral norm, as in Hamburger and
            SAGAN's self-attention. The published classifiers and segmentation networks do not.
        batch_norm: batch normalisation of the branch: None, "plain", or "conditional" (calls then require labels).
        num_classes: number of classes; only with conditional batch normalisation.
        batch_norm_momentum: decay of the moving averages, in [0, 1).

    Raises:
        ValueError: if an argument is out of range.
    """

    has_batch_norm = True

    def __init__(
        self,
        *,
        spectral_norm: bool = True,
        batch_norm: str | None = None,
        num_classes: int | None = None,
        batch_norm_momentum: float = 0.999,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.autocast = False  # Autocast would round class weights; call() casts the images.
        if batch_norm not in BATCH_NORMALIZATIONS:
            raise ValueError(f"batch_norm must be one of {BATCH_NORMALIZATIONS}, received {batch_norm!r}")
        if (batch_norm == "conditional") != (num_classes is not None):
            raise ValueError(
                f"num_classes goes with batch_norm='conditional', received {num_classes} with {batch_norm!r}"
            )
        self.spectral_norm = spectral_norm
        self.batch_norm = batch_norm
        self.num_classes = num_classes
        self.batch_norm_momentum = batch_norm_momentum

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the weights of the branch, the batch normalisation and sigma."""
        channels = image_channels(self, input_shape)
        self.build_context(channels)
        common: dict[str, Any] = {
            "momentum": self.batch_norm_momentum,
            "name": "batch_norm",
            "dtype": self.dtype_policy,
        }
        self.normalization: BatchNormalization | None = None
        if self.num_classes is not None:
            self.normalization = ConditionalBatchNormalization(self.num_classes, **common)
        elif self.batch_norm is not None:
            self.normalization = BatchNormalization(**common)
        if self.normalization is not None:
            self.normalization.build((None, None, None, channels))
        self.sigma = self.add_weight(name="sigma", shape=(), initializer="zeros")

    def build_context(self, channels: int) -> None:
        """Creates the weights of the branch.

        Args:
            channels: number of channels C of inputs and outputs.
        """

    def context(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Computes the branch, before batch normalisation and sigma.

        Args:
            inputs: tensor of shape ``(batch, height, width, channels)`` in the layer's compute dtype.
            training: whether to update singular vectors and other state.

        Returns:
            Tensor with the shape and dtype of the inputs.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define context()")

    def conv(self, name: str, inputs: int, outputs: int, *, use_bias: bool) -> keras.Layer:
        """Creates and builds a 1x1 convolution, spectrally normalised with ``spectral_norm``.

        Args:
            name: name of the layer.
            inputs: number of input channels.
            outputs: number of output channels.
            use_bias: whether to add a bias.
        """
        arguments: dict[str, Any] = {"use_bias": use_bias, "name": name, "dtype": self.dtype_policy}
        layer: keras.Layer = (
            SNConv2D(outputs, 1, norm_floor=0.0, **arguments)
            if self.spectral_norm
            else PlainConvolution(outputs, 1, **arguments)
        )
        layer.build((None, None, None, inputs))
        return layer

    def call(
        self,
        inputs: tf.Tensor,
        labels: tf.Tensor | None = None,
        training: bool | None = None,
        statistics: EvaluationStatistics = "moving",
        class_weights: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Adds global context to ``inputs``.

        Args:
            inputs: tensor of shape ``(batch, height, width, channels)``.
            labels: integers in [0, num_classes), shape ``(batch,)`` or ``(batch, 1)``. With
                ``batch_norm="conditional"``, these or ``class_weights`` are required; otherwise, neither is accepted.
            training: whether to use batch statistics, and to update moving averages, singular vectors and other state.
            statistics: batch normalisation statistics outside training, see
                :meth:`hamgan.layers.BatchNormalization.call`.
            class_weights: weight of each class, float32 or float64, shape ``(batch, num_classes)``; rows sum to 1. With
                these, ``labels`` are not used.

        Returns:
            Tensor with the shape of the inputs.

        Raises:
            ValueError: if labels are missing or not accepted.
        """
        if self.batch_norm != "conditional" and (labels is not None or class_weights is not None):
            raise ValueError(
                f"{self.name} has batch_norm={self.batch_norm!r} and expects no labels or class_weights; "
                "call it without them"
            )
        inputs = tf.cast(inputs, self.compute_dtype)
        context = self.context(inputs, training=training)
        if self.normalization is not None:
            arguments: dict[str, Any] = {"training": training, "statistics": statistics}
            if self.batch_norm == "conditional":
                arguments.update(labels=labels, class_weights=class_weights)
            context = self.normalization(context, **arguments)
        return inputs + tf.cast(self.sigma, inputs.dtype) * context

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "spectral_norm": self.spectral_norm,
            "batch_norm": self.batch_norm,
            "num_classes": self.num_classes,
            "batch_norm_momentum": self.batch_norm_momentum,
        }


def require_positive(**values: int | None) -> None:
    """Raises ValueError if a value is less than 1; None, which stands for a default, is accepted."""
    for name, value in values.items():
        if value is not None and value < 1:
            raise ValueError(f"{name} must be positive, received {value}")


def to_positions(images: tf.Tensor) -> tf.Tensor:
    """Reshapes ``(batch, height, width, channels)`` to ``(batch, height * width, channels)``."""
    shape = tf.shape(images)
    return tf.reshape(images, (shape[0], shape[1] * shape[2], images.shape[-1]))


def to_images(positions: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Reshapes ``(batch, height * width, channels)`` to images with the batch, height and width of ``like``."""
    shape = tf.shape(like)
    return tf.reshape(positions, (shape[0], shape[1], shape[2], positions.shape[-1]))
