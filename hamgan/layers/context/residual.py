"""What context modules share: the residual sum and 1x1 convolutions."""

from typing import Any

import keras
import tensorflow as tf

from hamgan.layers.batch_normalization import EvaluationStatistics
from hamgan.layers.context.normalized import NormalizedContext
from hamgan.layers.input_shapes import image_channels
from hamgan.layers.plain_convolution import PlainConvolution
from hamgan.layers.spectral_normalization import SNConv2D


class ResidualContext(NormalizedContext):
    """Base class of context modules: ``x + sigma * batch_norm(context(x))``.

    Subclasses create their weights in ``build_context`` and compute the branch in ``context``. Their 1x1 convolutions
    come from ``conv``.

    Args:
        spectral_norm: whether to divide the kernels of the 1x1 convolutions by their spectral norm, as in Hamburger and
            SAGAN's self-attention. The published classifiers and segmentation networks do not.
        kwargs: ``batch_norm``, ``num_classes`` and ``batch_norm_momentum`` of :class:`NormalizedContext`.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.layers.context import ResidualContext
        >>> class Mean(ResidualContext):
        ...     def context(self, inputs, training=None):
        ...         return tf.zeros_like(inputs) + tf.reduce_mean(inputs, axis=(1, 2), keepdims=True)
        >>> Mean()(tf.random.normal((2, 8, 8, 16))).shape
        TensorShape([2, 8, 8, 16])
    """

    def __init__(self, *, spectral_norm: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.spectral_norm = spectral_norm

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the weights of the branch, the batch normalisation and sigma."""
        channels = image_channels(self, input_shape)
        self.build_context(channels)
        self.build_normalization(channels)
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

        Returns:
            The built layer.
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
        arguments = self.normalization_arguments(labels, class_weights, training, statistics)
        inputs = tf.cast(inputs, self.compute_dtype)
        context = self.normalize(self.context(inputs, training=training), **arguments)
        return inputs + tf.cast(self.sigma, inputs.dtype) * context

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "spectral_norm": self.spectral_norm}


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
