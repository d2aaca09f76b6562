"""Bilinear resizing of images whose corner pixels are aligned, and of those with half-pixel centers.

:func:`hamgan.layers.bilinear_resize` computes the same inside of networks, in every dtype and on every device.
"""

import tensorflow as tf


def resize_aligned(images: tf.Tensor, size: tuple[int, int] | tf.Tensor) -> tf.Tensor:
    """Resizes images bilinearly: row i of the result is at row i * (in - 1) / (out - 1) of the input.

    So does PyTorch with ``align_corners=True``. This is the fast form for data on the CPU.

    Args:
        images: float images, shape ``(batch, height, width, channels)``.
        size: height and width of the result, in pixels.

    Returns:
        Images of the dtype of the input; resized in float32.
    """
    return _resized(images, size, align_corners=True)


def resize_half_pixel(images: tf.Tensor, size: tuple[int, int] | tf.Tensor) -> tf.Tensor:
    """Resizes images bilinearly: row i of the result is at row (i + 1/2) * in / out - 1/2 of the input.

    So do ``tf.image.resize``, PyTorch with ``align_corners=False`` and OpenCV. There is no antialiasing.

    Args:
        images: float images, shape ``(batch, height, width, channels)``.
        size: height and width of the result, in pixels.

    Returns:
        Images of the dtype of the input; resized in float32.
    """
    return _resized(images, size, align_corners=False)


def _resized(images: tf.Tensor, size: tuple[int, int] | tf.Tensor, *, align_corners: bool) -> tf.Tensor:
    resized = tf.raw_ops.ResizeBilinear(
        images=tf.cast(images, tf.float32),
        size=size,
        align_corners=align_corners,
        half_pixel_centers=not align_corners,
    )
    return tf.cast(resized, images.dtype)


def resized_rows(images: tf.Tensor, size: tuple[int, int], first: int, last: int) -> tf.Tensor:
    """Returns rows ``first`` to ``last - 1`` of :func:`resize_half_pixel`, in the memory that these take.

    Args:
        images: float32 images, shape ``(batch, height, width, channels)``; needs eager execution.
        size: height and width of the whole result, in pixels.
        first: first row.
        last: row after the last one.

    Returns:
        Float32 images, shape ``(batch, last - first, size[1], channels)``.
    """
    length = images.shape[1]
    place = (tf.range(first, last, dtype=tf.float64) + 0.5) * (length / size[0]) - 0.5
    low = tf.floor(place)
    share = tf.cast(place - low, tf.float32)[:, tf.newaxis, tf.newaxis]
    before, after = (
        tf.gather(images, tf.clip_by_value(tf.cast(row, tf.int32), 0, length - 1), axis=1) for row in (low, low + 1)
    )
    return resize_half_pixel(before * (1 - share) + after * share, (last - first, size[1]))
