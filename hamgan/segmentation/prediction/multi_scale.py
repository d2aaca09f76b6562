"""Logits of whole images: at one scale, or at several scales and flipped.

A network is any function that maps images, shape ``(batch, height, width, channels)``, to logits, shape ``(batch,
height, width, num_classes)``. The class of a pixel is the argmax of its logits.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

from hamgan.architecture import LOGIT_COMBINATIONS
from hamgan.segmentation.data.resizing import resize_aligned
from hamgan.segmentation.data.scaled_sizes import scaled_size

Network = Callable[[tf.Tensor], tf.Tensor]

RATIOS = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
"""Published ratios of the multi-scale test."""

STRIDE = 8
"""Output stride of HamNet. Images are padded to sizes that are 1 modulo the stride, where its convolutions align."""

REMAINDER = 1
"""Remainder of the padded sizes. mmsegmentation pads to multiples of 32 for SegNeXt, a remainder of 0."""


def pad_to_stride(
    images: tf.Tensor, stride: int = STRIDE, value: float = 0, *, remainder: int = REMAINDER
) -> tf.Tensor:
    """Pads images at the bottom and right to the next size that is ``remainder`` modulo ``stride``.

    Args:
        images: normalised images or masks, shape ``(batch, height, width, channels)``.
        stride: output stride of the network.
        value: value of the padding: 0, the mean color, for normalised images, 255 for masks.
        remainder: remainder of the padded sizes.
    """
    height, width = tf.unstack(tf.shape(images)[1:3])
    padding = [(0, 0), (0, (remainder - height) % stride), (0, (remainder - width) % stride), (0, 0)]
    return tf.pad(images, padding, constant_values=tf.cast(value, images.dtype))


def single_scale_logits(
    network: Network, images: tf.Tensor, *, stride: int = STRIDE, remainder: int = REMAINDER
) -> tf.Tensor:
    """Returns the logits of whole images at their own size, padded for the network.

    Args:
        network: function from images to logits of the same size.
        images: normalised images, shape ``(batch, height, width, channels)``. The published evaluation has batch 1.
        stride: output stride of the network.
        remainder: remainder of the padded sizes, see :func:`pad_to_stride`.

    Returns:
        Logits, shape ``(batch, height, width, num_classes)``.
    """
    height, width = tf.unstack(tf.shape(images)[1:3])
    return network(pad_to_stride(images, stride, remainder=remainder))[:, :height, :width]


def multi_scale_logits(
    network: Network,
    images: tf.Tensor,
    *,
    ratios: Sequence[float] = RATIOS,
    flip: bool = True,
    combination: str = "logits",
    stride: int = STRIDE,
    remainder: int = REMAINDER,
) -> tf.Tensor:
    """Combines the logits of images at several scales, as they are and flipped horizontally.

    Each scale is resized to floor(ratio * size), passed through :func:`single_scale_logits`, resized back and flipped
    back. All resizing is bilinear with aligned corners.

    Args:
        network: function from images to logits of the same size.
        images: normalised images, shape ``(batch, height, width, channels)``.
        ratios: ratios of the scales.
        flip: whether to add the flipped images.
        combination: one of :data:`hamgan.architecture.LOGIT_COMBINATIONS`.
        stride: output stride of the network.
        remainder: remainder of the padded sizes, see :func:`pad_to_stride`.

    Returns:
        Sum of the logits, or mean of the softmax probabilities, float32, shape ``(batch, height, width, num_classes)``.

    Raises:
        ValueError: there are no ratios, or the combination is unknown.

    Reference: the published evaluation of HamNet ("MSFlip"); for the mean of probabilities, that of SegNeXt.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.segmentation.prediction.multi_scale import multi_scale_logits
        >>> multi_scale_logits(lambda images: images, tf.ones((1, 41, 37, 3))).shape
        TensorShape([1, 41, 37, 3])
    """
    if combination not in LOGIT_COMBINATIONS or not ratios:
        raise ValueError(
            f"expected at least one ratio and a combination of {LOGIT_COMBINATIONS}, received {ratios} and "
            f"{combination!r}"
        )
    size = tf.shape(images)[1:3]
    total: tf.Tensor = 0.0
    for flipped in (False, True) if flip else (False,):
        oriented = images[:, :, ::-1] if flipped else images
        for ratio in ratios:
            scaled = resize_aligned(oriented, scaled_size(size, ratio))
            logits = tf.cast(single_scale_logits(network, scaled, stride=stride, remainder=remainder), tf.float32)
            logits = resize_aligned(logits, size)
            values = tf.nn.softmax(logits) if combination == "probabilities" else logits
            values = values[:, :, ::-1] if flipped else values
            total = total + values
    count = len(ratios) * (2 if flip else 1)
    return total / count if combination == "probabilities" else total
