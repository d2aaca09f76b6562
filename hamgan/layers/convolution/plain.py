"""Convolution and resampling as separate operations."""

import tensorflow as tf


def convolve(images: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Convolves with stride 1 and same zero padding: ``(batch, h, w, in)`` to ``(batch, h, w, out)``."""
    return tf.nn.conv2d(images, kernel, strides=1, padding="SAME")


def upsample(images: tf.Tensor) -> tf.Tensor:
    """Upsamples by two with nearest neighbours: ``(batch, h, w, c)`` to ``(batch, 2h, 2w, c)``."""
    shape = tf.shape(images)
    height, width, channels = (
        shape[axis] if images.shape[axis] is None else images.shape[axis] for axis in range(1, 4)
    )
    spread = tf.broadcast_to(images[:, :, tf.newaxis, :, tf.newaxis, :], (shape[0], height, 2, width, 2, channels))
    return tf.reshape(spread, (shape[0], 2 * height, 2 * width, channels))


def downsample(images: tf.Tensor) -> tf.Tensor:
    """Applies 2x2 average pooling: ``(batch, h, w, c)`` to ``(batch, h / 2, w / 2, c)``."""
    return tf.nn.avg_pool2d(images, ksize=2, strides=2, padding="VALID")
