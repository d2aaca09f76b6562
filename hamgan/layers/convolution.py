"""3x3 and 1x1 convolutions together with the resampling before or after them, by whichever form costs least.

One function has three forms, equal but for rounding. As written, a 3x3 convolution after nearest upsampling by two, or
before 2x2 average pooling, takes 36 multiplications for four pixels of the larger image and each pair of channels:

- "plain": resampling and convolution, one after the other.
- "strided": one convolution with stride 2, transposed for upsampling, whose 4x4 kernel is the 3x3 one convolved with
  ones(2, 2), over 4 for pooling: 16 multiplications.
- "products": 9 multiplications, and 16 instead of 36 without resampling; see :mod:`hamgan.layers.fast_convolution`.

1x1 convolutions commute with both resamplings and always run at the smaller size.
"""

from typing import Any, Literal

import tensorflow as tf

from hamgan.layers import fast_convolution

Resampling = Literal["up", "down"]

PRODUCTS_MIN_CHANNELS = {None: 80, "up": 120, "down": 120}
"""Harmonic sum of input and output channels from which "products" is the fastest form on a CPU.

The multiplications saved grow with both, the sums around them with one. Measured by ``scripts/bench_layers.py``.
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
    images: tf.Tensor, kernel: tf.Tensor, *, resampling: Resampling | None = None, form: str = "auto"
) -> tf.Tensor:
    """Convolves with stride 1 and zero padding to the same size, after upsampling or before pooling.

    Args:
        images: shape ``(batch, height, width, in_channels)``.
        kernel: shape ``(size, size, in_channels, out_channels)``, in the images' dtype or a wider one.
        resampling: "up": of the images, nearest by two, before; "down": 2x2 average pooling, after.
        form: see the module. "auto" chooses by shape and device. Forms other than "plain" are for 3x3 kernels and sizes
            that are known; elsewhere they are "plain". "strided" without resampling is too.

    Returns:
        Shape ``(batch, new_height, new_width, out_channels)``, dtype of the images.
    """
    form = _form_for(images, kernel, resampling, form)
    if form == "products":
        function = {
            None: fast_convolution.convolve,
            "up": fast_convolution.upsample_convolve,
            "down": fast_convolution.convolve_downsample,
        }[resampling]
        return function(images, kernel)
    if form == "strided":
        return _transposed(images, kernel) if resampling == "up" else _strided(images, kernel)
    kernel = tf.cast(kernel, images.dtype)
    if resampling is None:
        return tf.nn.conv2d(images, kernel, strides=1, padding="SAME")
    if kernel.shape[0] == 1:
        small = downsample(images) if resampling == "down" else images
        outputs = tf.nn.conv2d(small, kernel, strides=1, padding="SAME")
        return upsample(outputs) if resampling == "up" else outputs
    if resampling == "up":
        return tf.nn.conv2d(upsample(images), kernel, strides=1, padding="SAME")
    return downsample(tf.nn.conv2d(images, kernel, strides=1, padding="SAME"))


def _form_for(images: tf.Tensor, kernel: tf.Tensor, resampling: Resampling | None, form: str) -> str:
    size, _, in_channels, out_channels = kernel.shape
    sizes = images.shape[1:3].as_list()
    if form == "plain" or size != 3 or None in sizes:
        return "plain"
    if form == "auto":
        form = cpu_form(in_channels, out_channels, resampling) if _is_for_cpu() else "strided"
    is_even = all(extent % 2 == 0 for extent in sizes)
    if (form == "products" and resampling != "up" and not is_even) or (form == "strided" and resampling is None):
        return "plain"
    return form


def cpu_form(in_channels: int, out_channels: int, resampling: Resampling | None) -> str:
    """Returns the form that is fastest on a CPU for a 3x3 kernel of these widths."""
    harmonic = in_channels * out_channels / (in_channels + out_channels)
    return "products" if harmonic >= PRODUCTS_MIN_CHANNELS[resampling] else "strided"


def _is_for_cpu() -> bool:
    """Whether what is being traced will run on a CPU: elsewhere memory costs more than multiplications."""
    is_on_tpu = isinstance(tf.distribute.get_strategy(), tf.distribute.TPUStrategy)
    return not is_on_tpu and not tf.config.list_logical_devices("GPU")


def _spread(kernel: tf.Tensor) -> tf.Tensor:
    """The kernel convolved with ones(2, 2): ``(3, 3, ...)`` to ``(4, 4, ...)``."""
    for axis in (0, 1):
        padded = tf.pad(kernel, [[1, 1] if dimension == axis else [0, 0] for dimension in range(4)])
        kernel = padded[1:] + padded[:-1] if axis == 0 else padded[:, 1:] + padded[:, :-1]
    return kernel


def _spread_adjoint(gradient: tf.Tensor) -> tf.Tensor:
    gradient = gradient[1:] + gradient[:-1]
    return gradient[:, 1:] + gradient[:, :-1]


# Padding is "SAME" below, not explicit: only so does TensorFlow take oneDNN's kernels for the gradients.


def _transposed(images: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """3x3 convolution after nearest upsampling, as one transposed convolution."""
    shape = tf.shape(images)
    height, width = images.shape[1:3]
    out_channels = kernel.shape[-1]

    @tf.custom_gradient
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
    """2x2 average pooling after a 3x3 convolution, as one convolution."""
    shape = tf.shape(images)

    @tf.custom_gradient
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
