"""Preprocessing of photographs: central crop, resampling and scaling to [-1, 1]."""

import tensorflow as tf

PREPROCESSING = "largest central square, crop_and_resize, bilinear without antialiasing, v1"
"""Description of :func:`preprocess` in protocol cards. Change it whenever the numbers change."""

WHITE = {"uint8": 255.0, "uint16": 65_535.0, "float32": 1.0}
"""Value of a white pixel by image dtype. Black is 0."""


def preprocess(image: tf.Tensor, resolution: int) -> tf.Tensor:
    """Crops the largest central square of an image and resamples it.

    Uses ``tf.image.crop_and_resize``, bilinear without antialiasing. With s = min(h, w), the box spans
    y0 = ceil((h - s) / 2) to y1 = y0 + s - 1, both divided by h - 1, and likewise in x.

    Args:
        image: uint8 in [0, 255], uint16 in [0, 65535] or float32 in [0, 1], shape ``(h, w, 3)`` or ``(h, w, 1)``.
        resolution: height and width of the result, in pixels.

    Returns:
        Float32 image in [-1, 1], shape ``(resolution, resolution, 3)``.

    Raises:
        ValueError: the dtype is not supported.

    Reference: the published implementation, which reads uint8 images. Tests compare with numbers measured on it.
    """
    if image.dtype.name not in WHITE:
        raise ValueError(f"image dtype must be one of {', '.join(WHITE)}, received {image.dtype.name}")
    white = WHITE[image.dtype.name]
    image = tf.cast(image, tf.float32)
    height_and_width = tf.shape(image)[:2]
    side = tf.reduce_min(height_and_width)
    first = (height_and_width - side + 1) // 2
    # An image with a single row has the corner 0 only.
    extent = tf.maximum(height_and_width - 1, 1)
    box = tf.concat([first / extent, (first + side - 1) / extent], axis=0)
    resampled = tf.image.crop_and_resize(
        image[tf.newaxis], tf.cast(box, tf.float32)[tf.newaxis], [0], (resolution, resolution)
    )[0]
    if image.shape[-1] == 1:
        resampled = tf.image.grayscale_to_rgb(resampled)
    return resampled * (2.0 / white) - 1.0
