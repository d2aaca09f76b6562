"""3x3 and 1x1 convolutions together with the resampling before or after them, by whichever form costs least.

One function has three forms, equal but for rounding. A 3x3 convolution after nearest upsampling by two, or before 2x2
average pooling, takes for four pixels of the larger image and each pair of channels

- "plain", as the paper writes it, resampling and convolution one after the other: 36 multiplications;
- "strided", one convolution with stride 2, transposed for upsampling, whose 4x4 kernel is the 3x3 one convolved with
  ones(2, 2), over 4 for pooling: 16;
- "products": 9, and 16 instead of 36 without resampling; see :mod:`hamgan.layers.fast_convolution`.

A 1x1 convolution takes 4 in the plain and the strided form; "products" commutes it with the resampling, and it takes 1.
"""

from typing import Any, Literal

import tensorflow as tf

from hamgan.layers import fast_convolution
from hamgan.layers.gradients import custom_gradient
from hamgan.layers.target import target

Resampling = Literal["up", "down"]

PRODUCTS_MIN_CHANNELS = {None: 80, "up": 120, "down": 120}
"""Harmonic sum of input and output channels from which "products" is the fastest form of 3x3 kernels on a CPU.

The multiplications saved grow with both, the sums around them with one. Measured by ``scripts/bench_layers.py``.
"""

STRIDED_1X1_MAX_CHANNELS = 256
"""Input channels up to which "strided" is the form of 1x1 kernels on accelerators.

It reads and writes less than a separate resampling, and multiplies more, in proportion to these channels.
"""


def upsample(images: tf.Tensor) -> tf.Tensor:
    """Nearest-neighbour upsampling by two: ``(batch, h, w, c)`` to ``(batch, 2h, 2w, c)``."""
    shape = tf.shape(images)
    height, width, channels = (
        shape[axis] if images.shape[axis] is None else images.shape[axis] for axis in range(1, 4)
    )
    spread = tf.broadcast_to(images[:, :, tf.newaxis, :, tf.newaxis, :], (shape[0], height, 2, width, 2, channels))
    return tf.reshape(spread, (shape[0], 2 * height, 2 * width, channels))


def downsample(images: tf.Tensor) -> tf.Tensor:
    """Average pooling 2x2: ``(batch, h, w, c)`` to ``(batch, h / 2, w / 2, c)``."""
    return tf.nn.avg_pool2d(images, ksize=2, strides=2, padding="VALID")


def convolve(
    images: tf.Tensor,
    kernel: tf.Tensor,
    *,
    scale: tf.Tensor | float = 1.0,
    resampling: Resampling | None = None,
    form: str = "auto",
) -> tf.Tensor:
    """Convolves with stride 1 and zero padding to the same size, after upsampling or before pooling.

    Args:
        images: shape ``(batch, height, width, in_channels)``.
        kernel: shape ``(size, size, in_channels, out_channels)``, in the images' dtype or a wider one.
        scale: of the kernel, a scalar; some forms multiply with it where that takes no pass over the kernel.
        resampling: "up": of the images, nearest by two, before; "down": 2x2 average pooling, after.
        form: see the module. "auto" chooses by shape and device. Where a form does not apply ("strided" without
            resampling; odd, unknown or larger sizes), it is another one.

    Returns:
        Shape ``(batch, new_height, new_width, out_channels)``, dtype of the images.
    """
    form = _form_for(images, kernel, resampling, form)
    if form == "products" and kernel.shape[0] == 3:
        function = {
            None: fast_convolution.convolve,
            "up": fast_convolution.upsample_convolve,
            "down": fast_convolution.convolve_downsample,
        }[resampling]
        return function(images, kernel, scale)
    kernel = kernel * scale
    if form == "products":
        return _commuted(images, tf.cast(kernel, images.dtype), resampling)
    if form == "strided":
        return _transposed(images, kernel) if resampling == "up" else _strided(images, kernel)
    outputs = _plain(upsample(images) if resampling == "up" else images, tf.cast(kernel, images.dtype))
    return downsample(outputs) if resampling == "down" else outputs


def _plain(images: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    return tf.nn.conv2d(images, kernel, strides=1, padding="SAME")


def _commuted(images: tf.Tensor, kernel: tf.Tensor, resampling: Resampling | None) -> tf.Tensor:
    """A 1x1 convolution, at the smaller size."""
    outputs = _plain(downsample(images) if resampling == "down" else images, kernel)
    return upsample(outputs) if resampling == "up" else outputs


def _form_for(images: tf.Tensor, kernel: tf.Tensor, resampling: Resampling | None, form: str) -> str:
    size, _, in_channels, out_channels = kernel.shape
    if form == "auto":
        on_cpu = target() == "cpu"
        form = cpu_form(size, in_channels, out_channels, resampling) if on_cpu else accelerator_form(size, in_channels)
    if form == "plain" or size not in (1, 3):
        return "plain"
    sizes = images.shape[1:3].as_list()
    is_even = None not in sizes and all(extent % 2 == 0 for extent in sizes)
    if form == "strided":
        applies = resampling is not None and (is_even or (resampling == "up" and None not in sizes))
    else:
        applies = size == 1 or is_even or (resampling == "up" and None not in sizes)
    if applies:
        return form
    return "products" if size == 1 else "plain"


def cpu_form(kernel_size: int, in_channels: int, out_channels: int, resampling: Resampling | None) -> str:
    """Returns the form that is fastest on a CPU for a kernel of this size and these widths."""
    if kernel_size == 1:
        return "products"
    harmonic = in_channels * out_channels / (in_channels + out_channels)
    return "products" if harmonic >= PRODUCTS_MIN_CHANNELS[resampling] else "strided"


def accelerator_form(kernel_size: int, in_channels: int) -> str:
    """Returns the form that costs least where memory costs more than multiplications."""
    return "products" if kernel_size == 1 and in_channels > STRIDED_1X1_MAX_CHANNELS else "strided"


def _spread(kernel: tf.Tensor) -> tf.Tensor:
    """The kernel convolved with ones(2, 2): ``(size, size, ...)`` to ``(size + 1, size + 1, ...)``."""
    for axis in (0, 1):
        padded = tf.pad(kernel, [[1, 1] if dimension == axis else [0, 0] for dimension in range(4)])
        kernel = padded[1:] + padded[:-1] if axis == 0 else padded[:, 1:] + padded[:, :-1]
    return kernel


def _spread_adjoint(gradient: tf.Tensor) -> tf.Tensor:
    gradient = gradient[1:] + gradient[:-1]
    return gradient[:, 1:] + gradient[:, :-1]


# Padding is "SAME" below, not explicit: only so does TensorFlow take oneDNN's kernels for the gradients.


def _transposed(images: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """A convolution after nearest upsampling, as one transposed convolution."""
    shape = tf.shape(images)
    height, width = images.shape[1:3]
    out_channels = kernel.shape[-1]

    @custom_gradient
    def convolution(x: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Any]:
        # As the kernel of the convolution that this one transposes: turned around, channels exchanged.
        turned = tf.transpose(_spread(tf.stop_gradient(kernel))[::-1, ::-1], (0, 1, 3, 2))
        turned = tf.cast(turned, x.dtype)
        larger = tf.stack([shape[0], 2 * height, 2 * width, out_channels])
        outputs = tf.nn.conv2d_transpose(x, turned, larger, strides=2, padding="SAME")

        def grad(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            to_images = tf.nn.conv2d(upstream, turned, strides=2, padding="SAME")
            to_turned = _filter_gradient(upstream, turned.shape, x)
            to_spread = tf.cast(tf.transpose(to_turned, (0, 1, 3, 2))[::-1, ::-1], kernel.dtype)
            return to_images, _spread_adjoint(to_spread)

        return outputs, grad

    return convolution(images, kernel)


def _strided(images: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """2x2 average pooling after a convolution, as one convolution."""
    shape = tf.shape(images)

    @custom_gradient
    def convolution(x: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Any]:
        spread = tf.cast(_spread(tf.stop_gradient(kernel)) / 4, x.dtype)

        def grad(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            to_images = tf.nn.conv2d_transpose(upstream, spread, shape, strides=2, padding="SAME")
            to_spread = tf.cast(_filter_gradient(x, spread.shape, upstream), kernel.dtype)
            return to_images, _spread_adjoint(to_spread) / 4

        return tf.nn.conv2d(x, spread, strides=2, padding="SAME"), grad

    return convolution(images, kernel)


def _filter_gradient(images: tf.Tensor, kernel_shape: tf.TensorShape, upstream: tf.Tensor) -> tf.Tensor:
    return tf.raw_ops.Conv2DBackpropFilter(
        input=images, filter_sizes=kernel_shape, out_backprop=upstream, strides=[1, 2, 2, 1], padding="SAME"
    )
