"""The published training augmentation of HamNet: normalise, scale, pad, crop and flip."""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from hamgan import random_streams
from hamgan.segmentation.masks import IGNORED
from hamgan.segmentation.multi_scale import scaled_size
from hamgan.segmentation.resizing import resize_aligned

__all__ = ["normalise"]

MEAN = (0.485, 0.456, 0.406)
"""Mean color of ImageNet, for pixels in [0, 1]."""
DEVIATION = (0.229, 0.224, 0.225)
"""Standard deviation of ImageNet's colors."""
TRAINING_RATIOS = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
"""Published ratios of random scaling."""

_LONGEST = 4
"""Largest ratio of the sides of an image that is scaled by ``short_side``."""
_NUMBERS = 4
"""Random numbers of an image: for ratio, top, left and flip."""


class Augmentation(NamedTuple):
    """What happens to one image.

    Args:
        ratio: ratio of scaling, scalar float.
        top: first row of the crop, in the scaled and padded image, scalar int32.
        left: first column of the crop, scalar int32.
        flip: whether to flip horizontally, scalar bool.
    """

    ratio: tf.Tensor
    top: tf.Tensor
    left: tf.Tensor
    flip: tf.Tensor


def normalise(images: tf.Tensor) -> tf.Tensor:
    """Returns pixels / 255, minus ImageNet's mean, divided by its standard deviation.

    Args:
        images: uint8 RGB images, shape ``(..., 3)``.

    Returns:
        Float32 images of the same shape.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.segmentation.augmentation import normalise
        >>> normalise(tf.zeros((2, 64, 64, 3), tf.uint8)).dtype
        tf.float32
    """
    pixels = tf.cast(images, tf.float32) / 255.0
    return (pixels - tf.constant(MEAN)) / tf.constant(DEVIATION)


def augment(image: tf.Tensor, mask: tf.Tensor, augmentation: Augmentation, crop: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Normalises, scales, pads, crops and flips an image and its mask.

    Images are scaled bilinearly with aligned corners, masks by :func:`resize_nearest`. Padding is at the bottom and
    right: 0, which is the mean color, for the image, and 255 for the mask.

    Args:
        image: uint8 RGB, shape ``(height, width, 3)``.
        mask: classes, uint8, shape ``(height, width)``.
        augmentation: what to do, see :func:`draw_augmentation`.
        crop: height and width of the result, in pixels.

    Returns:
        Float32 image, shape ``(crop, crop, 3)``, and uint8 mask, shape ``(crop, crop)``.
    """
    size = scaled_size(tf.shape(image)[:2], augmentation.ratio)
    scaled_image = resize_aligned(normalise(image)[tf.newaxis], size)[0]
    scaled_mask = resize_nearest(mask, size)
    padding = [(0, extra) for extra in tf.unstack(tf.maximum(crop - size, 0))]
    scaled_image = tf.pad(scaled_image, [*padding, (0, 0)])
    scaled_mask = tf.pad(scaled_mask, padding, constant_values=tf.constant(IGNORED, mask.dtype))
    top, left = augmentation.top, augmentation.left
    scaled_image = scaled_image[top : top + crop, left : left + crop]
    scaled_mask = scaled_mask[top : top + crop, left : left + crop]
    step = tf.where(augmentation.flip, -1, 1)
    return (
        tf.ensure_shape(scaled_image[:, ::step], (crop, crop, 3)),
        tf.ensure_shape(scaled_mask[:, ::step], (crop, crop)),
    )


def resize_nearest(mask: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Resizes a mask: row i of the result is row floor(i * in / out) of the input, in float32.

    ``tf.image.resize`` takes the pixel nearest to the center instead.

    Args:
        mask: classes, shape ``(height, width)``.
        size: height and width of the result, int32, shape ``(2,)``.
    """
    for axis in range(2):
        length = tf.shape(mask)[axis]
        # As in PyTorch 1.4: the ratio is rounded to float32 before the product.
        ratio = tf.cast(length, tf.float32) / tf.cast(size[axis], tf.float32)
        source = tf.cast(tf.floor(tf.range(size[axis], dtype=tf.float32) * ratio), tf.int32)
        mask = tf.gather(mask, tf.minimum(source, length - 1), axis=axis)
    return mask


def draw_augmentation(
    size: tf.Tensor,
    crop: int,
    *,
    seed: int | tf.Tensor,
    step: int | tf.Tensor,
    index: int | tf.Tensor,
    ratios: Sequence[float] = TRAINING_RATIOS,
    any_ratio: bool = False,
    short_side: int | None = None,
) -> Augmentation:
    """Draws what happens to an image, as a function of its place in training alone.

    A resumed run, and one with another number of hosts, therefore draws the same.

    Args:
        size: height and width of the image, int32, shape ``(2,)``.
        crop: height and width of the crop, in pixels.
        seed: seed or root key of the run.
        step: training step.
        index: index of the image in the global batch.
        ratios: ratios of scaling, equally likely.
        any_ratio: whether any ratio between the first and the last of ``ratios`` is drawn, instead of one of them.
        short_side: height or width, whichever is smaller, of an image with ratio 1; None leaves images at their size.
            The other side is at most four times as long.

    Returns:
        Ratio, a uniform choice of all valid crops of the scaled and padded image, and a flip in half of the cases.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.segmentation.augmentation import augment, draw_augmentation
        >>> image, mask = tf.zeros((375, 500, 3), tf.uint8), tf.zeros((375, 500), tf.uint8)
        >>> draws = draw_augmentation(tf.constant([375, 500]), 513, seed=66, step=1, index=0)
        >>> augment(image, mask, draws, crop=513)[0].shape
        TensorShape([513, 513, 3])
    """
    key = random_streams.fold(seed, random_streams.Purpose.SEGMENTATION_AUGMENTATION, step)
    numbers = random_streams.draw("uniform", key, first=index, count=1, shape=(_NUMBERS,))[0]
    if any_ratio:
        ratio = ratios[0] + (ratios[-1] - ratios[0]) * tf.cast(numbers[0], tf.float64)
    else:
        ratio = tf.gather(tf.constant(ratios, tf.float64), tf.cast(numbers[0] * len(ratios), tf.int32))
    if short_side is not None:
        sides = tf.cast(size, tf.float64)
        ratio *= tf.minimum(short_side / tf.reduce_min(sides), _LONGEST * short_side / tf.reduce_max(sides))
    room = tf.maximum(scaled_size(size, ratio) - crop, 0)
    first = tf.cast(tf.floor(tf.cast(room + 1, tf.float64) * tf.cast(numbers[1:3], tf.float64)), tf.int32)
    return Augmentation(ratio, first[0], first[1], numbers[3] < 0.5)
