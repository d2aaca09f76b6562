"""Which form a convolution takes, and the one function that all layers call."""

from typing import Literal

import tensorflow as tf

from hamgan.layers.convolution import plain, products, strided
from hamgan.layers.execution import target

Resampling = Literal["up", "down"]

PRODUCTS_MIN_CHANNELS = {None: 80, "up": 120, "down": 120}
"""Harmonic sum of input and output channels from which "products" is the fastest form of 3x3 kernels on a CPU.

The multiplications saved grow with both, the sums around them with one. Measured by ``scripts/bench_layers.py``.
"""

STRIDED_1X1_MAX_CHANNELS = 256
"""Input channels up to which "strided" is the form of 1x1 kernels on accelerators.

It reads and writes less than a separate resampling, and multiplies more, in proportion to these channels.
"""


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
        scale: factor of the kernel, a scalar; some forms multiply with it where that takes no pass over the kernel.
        resampling: "up" is nearest upsampling of the images by two, before; "down" is 2x2 average pooling, after.
        form: one of :data:`hamgan.architecture.CONVOLUTION_FORMS`; "auto" chooses by shape and device. Where a form
            does not apply ("strided" without resampling; odd, unknown or larger sizes), another one is taken.

    Returns:
        Shape ``(batch, new_height, new_width, out_channels)``, dtype of the images.
    """
    form = _form_for(images, kernel, resampling, form)
    if form == "products" and kernel.shape[0] == 3:
        function = {
            None: products.convolve,
            "up": products.upsample_convolve,
            "down": products.convolve_downsample,
        }[resampling]
        return function(images, kernel, scale)
    kernel = kernel * scale
    if form == "strided" and resampling == "up":
        return strided.upsample_convolve(images, kernel)
    if form == "strided":
        return strided.convolve_downsample(images, kernel)
    kernel = tf.cast(kernel, images.dtype)
    # A 1x1 convolution commutes with the resampling: it is computed at the smaller size.
    before, after = ("down", "up") if form == "products" else ("up", "down")
    if resampling == before:
        images = _resample(images, before)
    outputs = plain.convolve(images, kernel)
    return _resample(outputs, after) if resampling == after else outputs


def _resample(images: tf.Tensor, resampling: Resampling) -> tf.Tensor:
    return plain.upsample(images) if resampling == "up" else plain.downsample(images)


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
