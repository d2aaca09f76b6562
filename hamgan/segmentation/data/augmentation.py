"""The published training augmentation of HamNet and SegNeXt: normalise, scale, crop, pad and flip."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from hamgan import random_streams
from hamgan.segmentation.data.masks import IGNORED
from hamgan.segmentation.data.resizing import resize_aligned, resize_half_pixel
from hamgan.segmentation.data.scaled_sizes import LONGEST, keep_ratio_scale, rounded_size, scaled_size

__all__ = ["normalise"]

MEAN = (0.485, 0.456, 0.406)
"""Mean color of ImageNet, for pixels in [0, 1]."""
DEVIATION = (0.229, 0.224, 0.225)
"""Standard deviation of ImageNet's colors."""
TRAINING_RATIOS = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
"""Published ratios of random scaling."""

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
        >>> from hamgan.segmentation.data.augmentation import normalise
        >>> normalise(tf.zeros((2, 64, 64, 3), tf.uint8)).dtype
        tf.float32
    """
    pixels = tf.cast(images, tf.float32) / 255.0
    return (pixels - tf.constant(MEAN)) / tf.constant(DEVIATION)


def augment(
    image: tf.Tensor,
    mask: tf.Tensor,
    augmentation: Augmentation,
    crop: int,
    *,
    align_corners: bool = True,
    distort: Callable[[tf.Tensor], tf.Tensor] | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Normalises, scales, crops, pads and flips an image and its mask.

    Images are scaled bilinearly, masks by :func:`resize_nearest`. Padding is at the bottom and right: 0, which is the
    mean color, for the image, and 255 for the mask.

    Args:
        image: uint8 RGB, shape ``(height, width, 3)``.
        mask: classes, uint8, shape ``(height, width)``.
        augmentation: what to do, see :func:`draw_augmentation`.
        crop: height and width of the result, in pixels.
        align_corners: whether images are scaled to floor(ratio * size) with aligned corners, after they are normalised,
            as for HamNet; or to the nearest size with half-pixel centers, and rounded to 8 bits, as for SegNeXt.
        distort: function that changes the colors of a uint8 image: of the whole image, or with half-pixel centers, of
            its crop.

    Returns:
        Float32 image, shape ``(crop, crop, 3)``, and uint8 mask, shape ``(crop, crop)``.
    """
    size = _size_after(tf.shape(image)[:2], augmentation.ratio, align_corners)
    top, left = augmentation.top, augmentation.left
    if align_corners:
        colored = image if distort is None else distort(image)
        pixels = resize_aligned(normalise(colored)[tf.newaxis], size)[0]
        pixels = pixels[top : top + crop, left : left + crop]
    else:
        scaled = resize_half_pixel(tf.cast(image, tf.float32)[tf.newaxis], size)[0]
        part = tf.cast(tf.round(scaled[top : top + crop, left : left + crop]), tf.uint8)
        pixels = normalise(part if distort is None else distort(part))
    classes = scaled_mask(mask, augmentation.ratio, align_corners=align_corners)
    classes = classes[top : top + crop, left : left + crop]
    padding = [(0, extra) for extra in tf.unstack(crop - tf.shape(classes))]
    pixels = tf.pad(pixels, [*padding, (0, 0)])
    classes = tf.pad(classes, padding, constant_values=tf.constant(IGNORED, mask.dtype))
    step = tf.where(augmentation.flip, -1, 1)
    return (
        tf.ensure_shape(pixels[:, ::step], (crop, crop, 3)),
        tf.ensure_shape(classes[:, ::step], (crop, crop)),
    )


def scaled_mask(mask: tf.Tensor, ratio: tf.Tensor, *, align_corners: bool) -> tf.Tensor:
    """Returns the scaled mask of :func:`augment`, before it is padded.

    Args:
        mask: classes, uint8, shape ``(height, width)``.
        ratio: ratio of scaling, scalar.
        align_corners: see :func:`augment`.
    """
    size = _size_after(tf.shape(mask), ratio, align_corners)
    return resize_nearest(mask, size, dtype=tf.float32 if align_corners else tf.float64)


def _size_after(size: tf.Tensor, ratio: tf.Tensor, align_corners: bool) -> tf.Tensor:
    return scaled_size(size, ratio) if align_corners else rounded_size(size, ratio)


def resize_nearest(mask: tf.Tensor, size: tf.Tensor, *, dtype: tf.DType = tf.float32) -> tf.Tensor:
    """Resizes a mask: row i of the result is row floor(i * in / out) of the input.

    ``tf.image.resize`` takes the pixel nearest to the center instead.

    Args:
        mask: classes, shape ``(height, width)``.
        size: height and width of the result, int32, shape ``(2,)``.
        dtype: precision of i * in / out: float32, as in PyTorch 1.4, or float64, as in OpenCV. It matters where the
            result is a whole number.
    """
    for axis in range(2):
        length = tf.shape(mask)[axis]
        before, after = tf.cast(length, dtype), tf.cast(size[axis], dtype)
        # Rounded before the product in both, and in OpenCV twice.
        ratio = before / after if dtype == tf.float32 else 1.0 / (after / before)
        source = tf.cast(tf.floor(tf.range(size[axis], dtype=dtype) * ratio), tf.int32)
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
    align_corners: bool = True,
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
        align_corners: see :func:`augment`.

    Returns:
        Ratio, a uniform choice of all valid crops of the scaled and padded image, and a flip in half of the cases.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.segmentation.data.augmentation import augment, draw_augmentation
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
    if short_side is not None and align_corners:
        sides = tf.cast(size, tf.float64)
        ratio *= tf.minimum(short_side / tf.reduce_min(sides), LONGEST * short_side / tf.reduce_max(sides))
    elif short_side is not None:
        ratio = keep_ratio_scale(size, short_side, ratio)
    first = first_pixels(_size_after(size, ratio, align_corners), crop, numbers[1:3])
    return Augmentation(ratio, first[0], first[1], numbers[3] < 0.5)


def first_pixels(size: tf.Tensor, crop: int, numbers: tf.Tensor) -> tf.Tensor:
    """Returns the first row and column of crops of a scaled image, a uniform choice of the valid ones.

    Args:
        size: height and width of the scaled image, int32, shape ``(2,)``. It is padded if it is smaller than the crop.
        crop: height and width of the crop, in pixels.
        numbers: uniform random numbers in [0, 1), shape ``(..., 2)``.

    Returns:
        Rows and columns, int32, shape ``(..., 2)``.
    """
    room = tf.maximum(size - crop, 0)
    return tf.cast(tf.floor(tf.cast(room + 1, tf.float64) * tf.cast(numbers, tf.float64)), tf.int32)
