"""Preprocessing of photographs: central crop, resampling and scaling to [-1, 1]."""

import tensorflow as tf

PREPROCESSING = "largest central square, crop_and_resize, bilinear without antialiasing, v1"
"""Description of :func:`preprocess` in protocol cards. Change it whenever the numbers change."""

WHITE = {"uint8": 255.0, "uint16": 65_535.0, "float32": 1.0}
"""Value of a white pixel by image dtype. Black is 0."""


LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a gray image (ITU-R BT.601)."""


def with_channels(images: tf.Tensor, channels: int) -> tf.Tensor:
    """Converts images between RGB and gray: the luminance of RGB, or gray in all three channels.

    Args:
        images: float images in [-1, 1], shape ``(..., 1)`` or ``(..., 3)``.
        channels: number of channels of the result, 1 or 3.

    Returns:
        Images in [-1, 1], shape ``(..., channels)``. Images with this number of channels are returned as they are.
    """
    if images.shape[-1] == channels:
        return images
    if channels == 3:
        return tf.image.grayscale_to_rgb(images)
    gray = tf.reduce_sum(images * tf.constant(LUMINANCE, images.dtype), axis=-1, keepdims=True)
    # The sum of the rounded weights can exceed 1.
    return tf.clip_by_value(gray, -1.0, 1.0)


def preprocess(image: tf.Tensor, resolution: int, channels: int = 3) -> tf.Tensor:
    """Crops the largest central square of an image and resamples it.

    Uses ``tf.image.crop_and_resize``, bilinear without antialiasing. With s = min(h, w), the box spans
    y0 = ceil((h - s) / 2) to y1 = y0 + s - 1, both divided by h - 1, and likewise in x.

    Args:
        image: uint8 in [0, 255], uint16 in [0, 65535] or float32 in [0, 1], shape ``(h, w, 3)`` or ``(h, w, 1)``.
        resolution: height and width of the result, in pixels.
        channels: number of channels of the result, 1 or 3, see :func:`with_channels`.

    Returns:
        Float32 image in [-1, 1], shape ``(resolution, resolution, channels)``.

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
    return with_channels(resampled * (2.0 / white) - 1.0, channels)
