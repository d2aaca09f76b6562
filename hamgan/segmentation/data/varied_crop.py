"""Choice of training crops in which no class has almost all pixels, as SegNeXt makes it."""

import tensorflow as tf

from hamgan import random_streams
from hamgan.segmentation.data.augmentation import Augmentation, first_pixels, scaled_mask
from hamgan.segmentation.data.masks import IGNORED

ATTEMPTS = 10
"""Number of crops that are checked. If none is accepted, the next one is used without a check."""


def with_varied_crop(
    augmentation: Augmentation,
    mask: tf.Tensor,
    crop: int,
    *,
    max_class_share: float,
    seed: int | tf.Tensor,
    step: int | tf.Tensor,
    index: int | tf.Tensor,
    align_corners: bool = True,
) -> Augmentation:
    """Draws the crop again, up to ten times, until it is varied.

    The result is a function of mask, seed, step and index alone. The first crop is that of ``augmentation``.

    Args:
        augmentation: what happens to the image, from :func:`hamgan.segmentation.data.augmentation.draw_augmentation`.
        mask: classes of the whole image, uint8, shape ``(height, width)``.
        crop: height and width of the crop, in pixels.
        max_class_share: share of the pixels that a class must stay below, see :func:`is_varied`.
        seed: seed or root key of the run.
        step: training step.
        index: index of the image in the global batch.
        align_corners: see :func:`hamgan.segmentation.data.augmentation.augment`.

    Returns:
        The augmentation with the first crop that is varied, or with the eleventh.

    Reference: ``cat_max_ratio`` of mmsegmentation, with which SegNeXt was trained.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.segmentation.data.augmentation import draw_augmentation
        >>> from hamgan.segmentation.data.varied_crop import with_varied_crop
        >>> place = {"seed": 66, "step": 1, "index": 0}
        >>> draws = draw_augmentation(tf.constant([375, 500]), 512, **place)
        >>> mask = tf.zeros((375, 500), tf.uint8)
        >>> with_varied_crop(draws, mask, 512, max_class_share=0.75, **place).top.dtype
        tf.int32
    """
    scaled = scaled_mask(mask, augmentation.ratio, align_corners=align_corners)
    key = random_streams.fold(seed, random_streams.Purpose.SEGMENTATION_CROPS, step)
    numbers = random_streams.draw("uniform", key, first=index, count=1, shape=(ATTEMPTS, 2))[0]
    first = tf.stack([augmentation.top, augmentation.left])
    corners = tf.concat([first[tf.newaxis], first_pixels(tf.shape(scaled), crop, numbers)], axis=0)

    def is_rejected(attempt: tf.Tensor) -> tf.Tensor:
        top, left = tf.unstack(corners[attempt])
        part = scaled[top : top + crop, left : left + crop]
        return tf.logical_and(attempt < ATTEMPTS, tf.logical_not(is_varied(part, max_class_share)))

    (chosen,) = tf.while_loop(is_rejected, lambda attempt: [attempt + 1], [tf.constant(0)])
    top, left = tf.unstack(corners[chosen])
    return augmentation._replace(top=top, left=left)


def is_varied(mask: tf.Tensor, max_class_share: float) -> tf.Tensor:
    """Whether a mask has several classes, each below a share of the pixels that are not ignored.

    Args:
        mask: classes, uint8.
        max_class_share: the share.

    Returns:
        Scalar, bool.
    """
    pixels = tf.reshape(tf.cast(mask, tf.int32), [-1])
    counts = tf.math.bincount(pixels, minlength=IGNORED + 1, maxlength=IGNORED + 1)[:IGNORED]
    # NaN, if all pixels are ignored, is not below the share.
    share = tf.cast(tf.reduce_max(counts), tf.float64) / tf.cast(tf.reduce_sum(counts), tf.float64)
    return tf.logical_and(tf.math.count_nonzero(counts) > 1, share < max_class_share)
