"""Random changes of brightness, contrast, saturation and hue, as in the training of SegNeXt."""

import tensorflow as tf

from hamgan import random_streams

BRIGHTNESS = 32 / 255
"""Largest change of brightness, of the range of pixels."""
CONTRAST = SATURATION = (0.5, 1.5)
"""Range of the factors of contrast and saturation."""
HUE = 18 / 180
"""Largest change of hue, of the circle of hues."""
_NUMBERS = 9
"""Random numbers of an image: whether and how much for each of four changes, and the order."""


def distort_colors(
    image: tf.Tensor, *, seed: int | tf.Tensor, step: int | tf.Tensor, index: int | tf.Tensor
) -> tf.Tensor:
    """Changes the colors of an image, as a function of its place in training alone.

    Each of the four changes has a probability of 1/2. Contrast comes before saturation and hue, or after them.

    Args:
        image: uint8 RGB, shape ``(height, width, 3)``.
        seed: seed or root key of the run.
        step: training step.
        index: index of the image in the global batch.

    Returns:
        Uint8 image of the same shape.

    Reference: Liu et al., SSD: Single Shot MultiBox Detector (ECCV 2016), whose distortion SegNeXt uses.
    """
    key = random_streams.fold(seed, random_streams.Purpose.SEGMENTATION_COLORS, step)
    numbers = random_streams.draw("uniform", key, first=index, count=1, shape=(_NUMBERS,))[0]
    happens, amounts, contrast_first = numbers[:4] < 0.5, numbers[4:8], numbers[8] < 0.5

    def between(low: float, high: float, number: tf.Tensor) -> tf.Tensor:
        return low + (high - low) * number

    def with_contrast(pixels: tf.Tensor, applies: tf.Tensor) -> tf.Tensor:
        changed = _clipped(pixels * between(*CONTRAST, amounts[1]))
        return tf.where(happens[1] & applies, changed, pixels)

    pixels = tf.cast(image, tf.float32) / 255.0
    pixels = tf.where(happens[0], _clipped(pixels + between(-BRIGHTNESS, BRIGHTNESS, amounts[0])), pixels)
    pixels = with_contrast(pixels, contrast_first)
    # Not by tf.where: these two are half of the time that an image takes.
    pixels = tf.cond(
        happens[2],
        lambda: _clipped(tf.image.adjust_saturation(pixels, between(*SATURATION, amounts[2]))),
        lambda: pixels,
    )
    pixels = tf.cond(
        happens[3],
        lambda: _clipped(tf.image.adjust_hue(pixels, between(-HUE, HUE, amounts[3]))),
        lambda: pixels,
    )
    pixels = with_contrast(pixels, tf.logical_not(contrast_first))
    return tf.cast(tf.round(pixels * 255.0), tf.uint8)


def _clipped(pixels: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(pixels, 0.0, 1.0)
