"""The convolution function that layers call, and its choice of a form."""

import functools
import os
from collections.abc import Mapping
from typing import Literal

import numpy as np
import tensorflow as tf

from hamgan.layers.convolution import plain, products, strided
from hamgan.layers.execution import target

Resampling = Literal["up", "down"]

PRODUCTS_MIN_CHANNELS: Mapping[bool, Mapping[Resampling | None, int]] = {
    False: {None: 50, "up": 65, "down": 75},
    True: {None: 100, "up": 100, "down": 130},
}
"""Minimum of in * out / (in + out) channels for which "products" is the fastest form of a 3x3 kernel on CPUs.

The saved multiplications grow with in * out, the added sums with in + out. Vectors of 512 bits (True) double the speed
of multiplications, but not of sums, which memory limits.
"""
_VECTORS_OF_512_BITS = {"X86_V4", "AVX512_SKX"}
"""NumPy's names for the instructions that oneDNN needs; the second one is that of NumPy 2.3 and before."""

STRIDED_1X1_MAX_CHANNELS = 256
"""Maximum number of input channels for which "strided" is the form of a 1x1 kernel on accelerators.

Compared with separate resampling, it accesses less memory, but multiplies more, in proportion to the channels.
"""


def convolve(
    images: tf.Tensor,
    kernel: tf.Tensor,
    *,
    scale: tf.Tensor | float = 1.0,
    resampling: Resampling | None = None,
    form: str = "auto",
) -> tf.Tensor:
    """Convolves images with stride 1 and same zero padding, after upsampling or before pooling.

    Args:
        images: tensor of shape ``(batch, height, width, in_channels)``.
        kernel: tensor of shape ``(size, size, in_channels, out_channels)``, in the dtype of the images or a wider one.
        scale: non-zero scalar factor of the kernel. "products" applies it without a pass over the kernel.
        resampling: None, "up" (nearest-neighbour upsampling by two before the convolution) or "down" (2x2 average
            pooling after it).
        form: form of :data:`hamgan.architecture.CONVOLUTION_FORMS`; "auto" chooses by shape and device. If the form
            does not support the shapes ("strided" without resampling; odd or unknown image sizes; kernels other than
            1x1 and 3x3), the function uses another one.

    Returns:
        Tensor of shape ``(batch, new_height, new_width, out_channels)`` in the dtype of the images.
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
    # A 1x1 convolution commutes with resampling, so "products" computes it at the smaller size.
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
    """Returns the fastest form on CPUs for a kernel size, numbers of channels and resampling."""
    if kernel_size == 1:
        return "products"
    harmonic = in_channels * out_channels / (in_channels + out_channels)
    return "products" if harmonic >= PRODUCTS_MIN_CHANNELS[has_512_bit_vectors()][resampling] else "strided"


@functools.cache
def has_512_bit_vectors() -> bool:
    """Whether oneDNN multiplies vectors of 512 bits on this CPU (AVX-512)."""
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "DEFAULT").upper()
    if not limit.startswith(("AVX512", "AVX10", "DEFAULT", "ALL")):
        return False
    extensions = np.show_config(mode="dicts").get("SIMD Extensions", {})  # without entries that are empty
    return not _VECTORS_OF_512_BITS.isdisjoint([*extensions.get("baseline", ()), *extensions.get("found", ())])


def accelerator_form(kernel_size: int, in_channels: int) -> str:
    """Returns the fastest form on accelerators, which are limited by memory rather than multiplications."""
    return "products" if kernel_size == 1 and in_channels > STRIDED_1X1_MAX_CHANNELS else "strided"
