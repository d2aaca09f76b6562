"""Bilinear resizing whose corner pixels map to corner pixels (PyTorch's ``align_corners=True``)."""

import tensorflow as tf


def resize_aligned(images: tf.Tensor, size: tuple[int, int] | tf.Tensor) -> tf.Tensor:
    """Resizes images bilinearly: row i of the result is at row i * (in - 1) / (out - 1) of the input.

    ``tf.image.resize`` aligns the corners of the corner pixels instead, as PyTorch does with ``align_corners=False``.
    This is the fast form for data on the CPU.

    Args:
        images: float images, shape ``(batch, height, width, channels)``.
        size: height and width of the result, in pixels.

    Returns:
        Images of the dtype of the input; resized in float32.
    """
    resized = tf.raw_ops.ResizeBilinear(
        images=tf.cast(images, tf.float32), size=size, align_corners=True, half_pixel_centers=False
    )
    return tf.cast(resized, images.dtype)
