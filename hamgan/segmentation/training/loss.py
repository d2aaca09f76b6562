"""The loss of segmentation networks."""

import tensorflow as tf

from hamgan.segmentation.data.masks import IGNORED

__all__ = ["pixel_losses"]


def pixel_losses(logits: tf.Tensor, masks: tf.Tensor) -> tf.Tensor:
    """Computes the softmax cross-entropy of each pixel, 0 where the mask is to be ignored.

    The published loss is the mean over all pixels, including those to ignore: images with many of them count less.

    Args:
        logits: logits, float32 or wider, shape ``(batch, height, width, num_classes)``.
        masks: classes, integers, shape ``(batch, height, width)``.

    Returns:
        Losses of shape ``(batch, height, width)``.

    Reference: Geng et al., Is Attention Better Than Matrix Decomposition? (ICLR 2021).

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.segmentation.training.loss import pixel_losses
        >>> pixel_losses(tf.zeros((2, 8, 8, 5)), tf.fill((2, 8, 8), 255)).shape
        TensorShape([2, 8, 8])
    """
    labels = tf.cast(masks, tf.int32)
    counts = tf.not_equal(labels, IGNORED)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.where(counts, labels, 0), logits)
    return tf.where(counts, losses, tf.zeros_like(losses))
