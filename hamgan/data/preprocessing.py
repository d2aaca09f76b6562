"""From a decoded photograph to what the networks see."""

import tensorflow as tf

PREPROCESSING = "largest central square, crop_and_resize, bilinear without antialiasing, v1"
"""What :func:`preprocess` does, as protocol cards say it; to be changed whenever its numbers do."""

WHITE = {"uint8": 255.0, "uint16": 65_535.0, "float32": 1.0}
"""The value of a white pixel in a photograph, by dtype; black is 0."""


def preprocess(image: tf.Tensor, resolution: int) -> tf.Tensor:
    """Crops the largest central square and resamples it.

    ``tf.image.crop_and_resize``, bilinear without antialiasing; box corners y0 = ceil((h - s) / 2) and
    y1 = y0 + s - 1, over h - 1, with s = min(h, w), and the same in x.

    Args:
        image: uint8 in [0, 255], uint16 in [0, 65535] or float32 in [0, 1], shape ``(h, w, 3)`` or ``(h, w, 1)``.
        resolution: height and width of the result.

    Returns:
        Float32 in [-1, 1], shape ``(resolution, resolution, 3)``.

    Raises:
        ValueError: the image has another dtype.

    Reference: preprocessing of the published system, whose images are uint8; pinned by numbers measured on it.
    """
    if image.dtype.name not in WHITE:
        raise ValueError(f"images must be {', '.join(WHITE)}, received {image.dtype.name}")
    white = WHITE[image.dtype.name]
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
    return resampled * (2.0 / white) - 1.0
