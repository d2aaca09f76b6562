"""Random augmentation of batches of images: functions of a random stream and of the index in the global batch."""

import tensorflow as tf

from hamgan import random_streams

TRANSLATION = 1 / 8
"""Largest translation, relative to the size of the image."""
CUTOUT = 1 / 2
"""Side of the square that is cut out, relative to the size of the image."""
_NUMBERS = 7
"""Random numbers per image of :func:`diff_augment`."""


def flip_horizontally(images: tf.Tensor, key: tf.Tensor, *, first: int | tf.Tensor) -> tf.Tensor:
    """Mirrors each image with a probability of 1/2.

    Args:
        images: float tensor, shape ``(batch, height, width, channels)``.
        key: key of a random stream, from :func:`hamgan.random_streams.fold`.
        first: index of the first image in the global batch.

    Returns:
        Tensor with the shape of the images.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.data.augmentation import flip_horizontally
        >>> from hamgan.random_streams import fold
        >>> flip_horizontally(tf.zeros((2, 32, 32, 3)), fold(0), first=0).shape
        TensorShape([2, 32, 32, 3])
    """
    numbers = random_streams.draw("uniform", key, first=first, count=tf.shape(images)[0], shape=(1, 1, 1))
    return tf.where(numbers < 0.5, tf.reverse(images, [2]), images)


def diff_augment(
    images: tf.Tensor,
    key: tf.Tensor,
    *,
    first: int | tf.Tensor,
    color: bool = False,
    translation: bool = False,
    cutout: bool = False,
) -> tf.Tensor:
    """Applies the differentiable augmentations of DiffAugment, each image with its own random numbers.

    - Color: adds u - 1/2 to all values (brightness); scales the distance to the mean over channels by 2u (saturation)
      and that to the mean over the image by u + 1/2 (contrast), with u uniform in [0, 1).
    - Translation: moves the image by up to 1/8 of its size in each direction.
    - Cutout: sets a square of half the size of the image to zero. Its center is anywhere in the image.

    Pixels from outside the image are zero, which is gray.

    Args:
        images: float tensor in [-1, 1], shape ``(batch, height, width, channels)``, with static height and width.
        key: key of a random stream, from :func:`hamgan.random_streams.fold`.
        first: index of the first image in the global batch.
        color: whether to change colors.
        translation: whether to translate.
        cutout: whether to cut out a square.

    Returns:
        Tensor with the shape of the images. Derivatives of every order exist.

    Reference: Zhao et al., Differentiable Augmentation for Data-Efficient GAN Training (NeurIPS 2020), section 3.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.data.augmentation import diff_augment
        >>> from hamgan.random_streams import fold
        >>> images = tf.random.uniform((2, 32, 32, 3), -1, 1)
        >>> diff_augment(images, fold(0), first=0, translation=True, cutout=True).shape
        TensorShape([2, 32, 32, 3])
    """
    numbers = random_streams.draw("uniform", key, first=first, count=tf.shape(images)[0], shape=(_NUMBERS,))
    brightness, saturation, contrast, down, right, row, column = tf.unstack(numbers, axis=1)
    if color:
        images = _recolored(images, brightness, saturation, contrast)
    height, width = images.shape[1:3]
    if translation:
        images = _translated(images, _shift(down, height), _shift(right, width))
    if cutout:
        is_cut = _is_cut(row, height)[:, :, tf.newaxis] & _is_cut(column, width)[:, tf.newaxis, :]
        images = tf.where(is_cut[..., tf.newaxis], tf.zeros_like(images), images)
    return images


def _recolored(images: tf.Tensor, brightness: tf.Tensor, saturation: tf.Tensor, contrast: tf.Tensor) -> tf.Tensor:
    brightness, saturation, contrast = (
        tf.cast(number, images.dtype)[:, tf.newaxis, tf.newaxis, tf.newaxis]
        for number in (brightness - 0.5, 2.0 * saturation, contrast + 0.5)
    )
    images = images + brightness
    gray = tf.reduce_mean(images, axis=3, keepdims=True)
    images = (images - gray) * saturation + gray
    mean = tf.reduce_mean(images, axis=(1, 2, 3), keepdims=True)
    return (images - mean) * contrast + mean


def _shift(numbers: tf.Tensor, size: int) -> tf.Tensor:
    """Returns whole numbers of pixels, uniform from -TRANSLATION to TRANSLATION of the size."""
    largest = round(size * TRANSLATION)
    return tf.cast(tf.floor(numbers * (2 * largest + 1)), tf.int32) - largest


def _translated(images: tf.Tensor, down: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """Moves each image by whole numbers of pixels, int32, shape ``(batch,)``."""

    @tf.custom_gradient
    def translate(x: tf.Tensor) -> tuple[tf.Tensor, object]:
        # The derivative is the opposite translation. That of a gather would be a scatter, which is slow on TPUs.
        return _moved(_moved(x, down, 1), right, 2), lambda upstream: _translated(upstream, -down, -right)

    return translate(images)


def _moved(images: tf.Tensor, shift: tf.Tensor, axis: int) -> tf.Tensor:
    size = images.shape[axis]
    source = tf.range(size) - shift[:, tf.newaxis]
    is_inside = (source >= 0) & (source < size)
    moved = tf.gather(images, tf.clip_by_value(source, 0, size - 1), axis=axis, batch_dims=1)
    shape = [-1, 1, 1, 1]
    shape[axis] = size
    return tf.where(tf.reshape(is_inside, shape), moved, tf.zeros_like(moved))


def _is_cut(numbers: tf.Tensor, size: int) -> tf.Tensor:
    """Returns which positions along one axis are cut out, shape ``(batch, size)``."""
    side = round(size * CUTOUT)
    center = tf.cast(tf.floor(numbers * (size + 1 - side % 2)), tf.int32)
    start = (center - side // 2)[:, tf.newaxis]
    positions = tf.range(size)
    return (positions >= start) & (positions < start + side)
