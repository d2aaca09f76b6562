"""From a decoded photograph to what the networks see."""

import tensorflow as tf

PREPROCESSING = "largest central square, crop_and_resize, bilinear without antialiasing, v1"
"""What :func:`preprocess` does, as protocol cards say it; to be changed whenever its numbers do."""


def preprocess(image: tf.Tensor, resolution: int) -> tf.Tensor:
    """Crops the largest central square and resamples it.

    ``tf.image.crop_and_resize``, bilinear without antialiasing; box corners y0 = ceil((h - s) / 2) and
    y1 = y0 + s - 1, over h - 1, with s = min(h, w), and the same in x.

    Args:
        image: uint8, shape ``(h, w, 3)`` or ``(h, w, 1)``.
        resolution: height and width of the result.

    Returns:
        Float32 in [-1, 1], shape ``(resolution, resolution, 3)``.

    Reference: preprocessing of the published system; pinned by numbers measured on it.
    """
    image = tf.cast(image, tf.float32)
    height_and_width = tf.shape(image)[:2]
    side = tf.reduce_min(height_and_width)
    first = (height_and_width - side + 1) // 2
    # A single row has only the corner 0.
    extent = tf.maximum(height_and_width - 1, 1)
    box = tf.concat([first / extent, (first + side - 1) / extent], axis=0)
    resampled = tf.image.crop_and_resize(
        image[tf.newaxis], tf.cast(box, tf.float32)[tf.newaxis], [0], (resolution, resolution)
    )[0]
    if image.shape[-1] == 1:
        resampled = tf.image.grayscale_to_rgb(resampled)
    return resampled * (2.0 / 255.0) - 1.0
