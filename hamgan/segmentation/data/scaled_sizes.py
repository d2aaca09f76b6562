"""Sizes of scaled images that keep their ratio: as the published code of HamNet computes them, and as mmcv does."""

import tensorflow as tf

LONGEST = 4
"""Largest ratio of the long side to the short side that is asked for; longer images get a smaller short side."""


def keep_ratio_scale(size: tf.Tensor, short_side: int, ratio: float | tf.Tensor = 1.0) -> tf.Tensor:
    """Returns the factor that scales an image to a short side, or its long side to the most that is allowed.

    Args:
        size: height and width of the image, int32, shape ``(2,)``.
        short_side: height or width, whichever is smaller, of an image with ratio 1, in pixels. The other side is at
            most four times as long.
        ratio: scalar that both bounds are multiplied by before they are rounded down.

    Returns:
        Scalar, float64.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.segmentation.data.scaled_sizes import keep_ratio_scale, rounded_size
        >>> rounded_size(tf.constant([375, 500]), keep_ratio_scale(tf.constant([375, 500]), 512)).numpy()
        array([512, 683], dtype=int32)
    """
    sides = tf.cast(size, tf.float64)
    ratio = tf.cast(ratio, tf.float64)
    short, long = (tf.maximum(tf.floor(bound * ratio), 1.0) for bound in (short_side, LONGEST * short_side))
    return tf.minimum(short / tf.reduce_min(sides), long / tf.reduce_max(sides))


def rounded_size(size: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """Returns floor(size * scale + 0.5), but at least 1 pixel.

    Args:
        size: height and width, int32, shape ``(2,)``.
        scale: scalar.
    """
    scaled = tf.floor(tf.cast(size, tf.float64) * tf.cast(scale, tf.float64) + 0.5)
    return tf.maximum(tf.cast(scaled, tf.int32), 1)


def scaled_size(size: tf.Tensor, ratio: float | tf.Tensor) -> tf.Tensor:
    """Returns floor(ratio * size), but at least 1 pixel.

    Args:
        size: height and width, int32, shape ``(2,)``.
        ratio: scalar.
    """
    # In float64, like Python's numbers in the published code: 0.7 * 90 is below 63 there, but 63 in float32.
    scaled = tf.floor(tf.cast(size, tf.float64) * tf.cast(ratio, tf.float64))
    return tf.maximum(tf.cast(scaled, tf.int32), 1)
