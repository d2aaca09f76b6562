"""Convolution and resampling merged into one convolution with stride 2.

Its kernel is the original one convolved with ones(2, 2): 4x4 instead of 3x3, 2x2 instead of 1x1.
"""

import tensorflow as tf

from hamgan.layers.convolution.bilinear import linear


def _sum_of_shifts(kernel: tf.Tensor) -> tf.Tensor:
    for axis in (0, 1):
        padded = tf.pad(kernel, [[1, 1] if dimension == axis else [0, 0] for dimension in range(4)])
        kernel = padded[1:] + padded[:-1] if axis == 0 else padded[:, 1:] + padded[:, :-1]
    return kernel


def _sum_of_shifts_adjoint(gradient: tf.Tensor) -> tf.Tensor:
    gradient = gradient[1:] + gradient[:-1]
    return gradient[:, 1:] + gradient[:, :-1]


_spread = linear(_sum_of_shifts, _sum_of_shifts_adjoint)
"""Convolves a kernel with ones(2, 2): ``(size, size, in, out)`` to ``(size + 1, size + 1, in, out)``."""

# Padding is "SAME" rather than explicit, because TensorFlow then uses oneDNN for the gradients.


def upsample_convolve(images: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Upsamples images by two with nearest neighbours, then convolves them.

    Args:
        images: tensor of shape ``(batch, height, width, in_channels)`` with known height and width.
        kernel: tensor of shape ``(size, size, in_channels, out_channels)``, in the dtype of the images or a wider one.

    Returns:
        Tensor of shape ``(batch, 2 * height, 2 * width, out_channels)`` in the dtype of the images.
    """
    height, width = images.shape[1:3]
    # conv2d_transpose expects the kernel of the forward convolution: flipped, with the channels swapped.
    turned = tf.transpose(_spread(kernel)[::-1, ::-1], (0, 1, 3, 2))
    output_shape = tf.stack([tf.shape(images)[0], 2 * height, 2 * width, kernel.shape[-1]])
    return tf.nn.conv2d_transpose(images, tf.cast(turned, images.dtype), output_shape, strides=2, padding="SAME")


def convolve_downsample(images: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Convolves images, then applies 2x2 average pooling.

    Args:
        images: tensor of shape ``(batch, height, width, in_channels)`` with even height and width.
        kernel: tensor of shape ``(size, size, in_channels, out_channels)``, in the dtype of the images or a wider one.

    Returns:
        Tensor of shape ``(batch, height / 2, width / 2, out_channels)`` in the dtype of the images.
    """
    spread = tf.cast(_spread(kernel) / 4, images.dtype)
    return tf.nn.conv2d(images, spread, strides=2, padding="SAME")
