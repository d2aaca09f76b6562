"""Convolutions of segmentation networks: symmetric padding, dilation and the published start values."""

import math
from typing import Any, Literal, get_args

import keras
import tensorflow as tf

from hamgan.layers.execution import is_differentiable, target
from hamgan.layers.input_shapes import image_channels
from hamgan.layers.precision import add_bias

Shape = tuple[int | None, ...]
StartValues = Literal["fan_out_normal", "fan_in_uniform", "small_normal"]
"""Distribution of start values; see :class:`Convolution`."""
_SMALL_DEVIATION = 0.01


def _initializers(start_values: str, fan_in: int) -> tuple[keras.initializers.Initializer, ...]:
    """Returns the initializers of kernel and bias."""
    if start_values == "fan_in_uniform":
        limit = 1 / math.sqrt(fan_in)
        return tuple(keras.initializers.RandomUniform(-limit, limit) for _ in range(2))
    if start_values == "small_normal":
        kernel = keras.initializers.RandomNormal(stddev=_SMALL_DEVIATION)
    else:
        kernel = keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
    return kernel, keras.initializers.Zeros()


class _ImageConvolution(keras.Layer):
    """Base class of the convolutions.

    Args:
        kernel_size: height and width of the kernel, or one number for both; odd.
        use_bias: whether to add a bias.
        start_values: distribution of the start values.
    """

    def __init__(
        self, kernel_size: int | tuple[int, int], *, use_bias: bool = True, start_values: str, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.kernel_size = (kernel_size, kernel_size) if isinstance(kernel_size, int) else tuple(kernel_size)
        if len(self.kernel_size) != 2 or any(size < 1 or size % 2 == 0 for size in self.kernel_size):
            raise ValueError(f"kernel_size must be one or two positive odd numbers, received {kernel_size}")
        if start_values not in get_args(StartValues):
            raise ValueError(f"start_values must be one of {get_args(StartValues)}, received {start_values!r}")
        self.use_bias = use_bias
        self.start_values = start_values

    def _create_weights(self, kernel_shape: tuple[int, ...], fan_in: int, filters: int) -> None:
        kernel, bias = _initializers(self.start_values, fan_in)
        self.kernel = self.add_weight(name="kernel", shape=kernel_shape, initializer=kernel)
        # The sum that is the gradient of the bias needs float32.
        self.bias = (
            self.add_weight(name="bias", shape=(filters,), initializer=bias, autocast=False) if self.use_bias else None
        )

    def _with_bias(self, outputs: tf.Tensor) -> tf.Tensor:
        return outputs if self.bias is None else add_bias(outputs, tf.convert_to_tensor(self.bias))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "use_bias": self.use_bias,
            "start_values": self.start_values,
        }


@keras.saving.register_keras_serializable(package="hamgan")
class Convolution(_ImageConvolution):
    """Convolution of images with symmetric zero padding: ``d (k - 1) / 2`` on each side.

    Output sizes are ``ceil(size / stride)``. ``padding="same"`` of ``keras.layers.Conv2D`` pads even sizes on one side
    only if the stride is 2, and its dilated convolutions have no gradient on CPUs.

    Args:
        filters: number of output channels.
        kernel_size: height and width of the kernel, or one number for both; odd.
        stride: step between output positions.
        dilation: step d between the kernel's positions; with a stride, it must be 1.
        use_bias: whether to add a bias.
        start_values: distribution of the start values: "fan_out_normal" (kernel normal with deviation
            sqrt(2 / (k k filters)), bias 0), "fan_in_uniform" (both uniform in +-1 / sqrt(k k channels)) or
            "small_normal" (kernel normal with deviation 0.01, bias 0).

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.segmentation.networks.convolution import Convolution
        >>> Convolution(8, 3, stride=2)(tf.zeros((2, 65, 48, 3))).shape
        TensorShape([2, 33, 24, 8])
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        *,
        stride: int = 1,
        dilation: int = 1,
        use_bias: bool = True,
        start_values: str = "fan_out_normal",
        **kwargs: Any,
    ) -> None:
        super().__init__(kernel_size, use_bias=use_bias, start_values=start_values, **kwargs)
        if filters < 1 or stride < 1 or dilation < 1:
            raise ValueError(
                f"filters, stride and dilation must be positive, received {filters}, {stride} and {dilation}"
            )
        if stride > 1 and dilation > 1:
            raise ValueError(f"stride and dilation exclude each other, received {stride} and {dilation}")
        self.filters = filters
        self.stride = stride
        self.dilation = dilation

    def build(self, input_shape: Shape) -> None:
        """Creates kernel and bias."""
        channels = image_channels(self, input_shape)
        self._create_weights(
            (*self.kernel_size, channels, self.filters), math.prod(self.kernel_size) * channels, self.filters
        )

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Convolves images.

        Args:
            inputs: tensor of shape ``(batch, height, width, channels)``.

        Returns:
            Tensor of shape ``(batch, ceil(height / stride), ceil(width / stride), filters)``.
        """
        kernel = tf.convert_to_tensor(self.kernel)
        # Exported functions are not differentiated, and keep the operation that other runtimes know.
        if self.dilation > 1 and target() == "cpu" and is_differentiable():
            return self._with_bias(_convolution_by_phases(inputs, kernel, self.dilation))
        padding: Any = "SAME"  # Symmetric for odd kernels, unless there is a stride.
        if self.stride > 1:
            padding = [[0, 0], *([size // 2] * 2 for size in self.kernel_size), [0, 0]]
        return self._with_bias(tf.nn.conv2d(inputs, kernel, self.stride, padding, dilations=self.dilation))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns ``(batch, ceil(height / stride), ceil(width / stride), filters)``."""
        batch, *sizes, _channels = input_shape
        return (batch, *(size and -(-size // self.stride) for size in sizes), self.filters)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "filters": self.filters, "stride": self.stride, "dilation": self.dilation}


def _convolution_by_phases(images: tf.Tensor, kernel: tf.Tensor, dilation: int) -> tf.Tensor:
    """Computes a dilated convolution as plain convolutions of the d x d images of every d-th row and column.

    TensorFlow has no gradient of dilated convolutions on CPUs.
    """
    shape, channels, filters = tf.shape(images), images.shape[-1], kernel.shape[-1]
    batch, height, width = shape[0], shape[1], shape[2]
    rows, columns = -(-height // dilation), -(-width // dilation)
    paddings = ((0, 0), (0, rows * dilation - height), (0, columns * dilation - width), (0, 0))
    phases = tf.reshape(tf.pad(images, paddings), (batch, rows, dilation, columns, dilation, channels))
    phases = tf.reshape(tf.transpose(phases, (2, 4, 0, 1, 3, 5)), (-1, rows, columns, channels))
    outputs = tf.nn.conv2d(phases, kernel, 1, "SAME")
    outputs = tf.transpose(tf.reshape(outputs, (dilation, dilation, batch, rows, columns, filters)), (2, 3, 0, 4, 1, 5))
    return tf.reshape(outputs, (batch, rows * dilation, columns * dilation, filters))[:, :height, :width]


@keras.saving.register_keras_serializable(package="hamgan")
class DepthwiseConvolution(_ImageConvolution):
    """Convolution of each channel with its own kernel, with zero padding to the input's size.

    The kernel has shape ``(kernel_height, kernel_width, channels, 1)``.

    Args:
        kernel_size: height and width of the kernel, or one number for both; odd.
        use_bias: whether to add a bias.
        start_values: distribution of the start values, see :class:`Convolution`, where each output has one channel.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.segmentation.networks.convolution import DepthwiseConvolution
        >>> DepthwiseConvolution((1, 7))(tf.zeros((2, 8, 8, 3))).shape
        TensorShape([2, 8, 8, 3])
    """

    def __init__(
        self,
        kernel_size: int | tuple[int, int],
        *,
        use_bias: bool = True,
        start_values: str = "fan_out_normal",
        **kwargs: Any,
    ) -> None:
        super().__init__(kernel_size, use_bias=use_bias, start_values=start_values, **kwargs)

    def build(self, input_shape: Shape) -> None:
        """Creates kernel and bias."""
        channels = image_channels(self, input_shape)
        self._create_weights((*self.kernel_size, channels, 1), math.prod(self.kernel_size), channels)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Convolves images of shape ``(batch, height, width, channels)``, and returns the same shape."""
        kernel = tf.convert_to_tensor(self.kernel)
        return self._with_bias(tf.nn.depthwise_conv2d(inputs, kernel, (1, 1, 1, 1), "SAME"))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the input's shape."""
        return input_shape
