"""Scores of semantic segmentation from a confusion matrix: intersection over union and accuracies."""

import dataclasses

import numpy as np
import tensorflow as tf


def confusion_matrix(masks: tf.Tensor, predictions: tf.Tensor, num_classes: int) -> tf.Tensor:
    """Counts how often each class is predicted as each class.

    Matrices add up: that of a data set is the sum over its batches, and over the replicas that each counted their part.

    Args:
        masks: true classes, integers of any shape. Pixels outside of [0, num_classes), such as those to ignore, do not
            count.
        predictions: predicted classes, integers in [0, num_classes), shape of ``masks``.
        num_classes: number of classes.

    Returns:
        Number of pixels, int64, shape ``(num_classes, num_classes)``: rows are true classes, columns predicted ones.

    Raises:
        tf.errors.InvalidArgumentError: a prediction is out of range, except under XLA, which has no assertions.

    Example:
        >>> from hamgan.segmentation.evaluation.scores import confusion_matrix
        >>> confusion_matrix([[0, 1, 255]], [[0, 0, 1]], num_classes=2).numpy().tolist()
        [[1, 0], [1, 0]]
    """
    masks, predictions = (tf.cast(tf.reshape(classes, (-1,)), tf.int32) for classes in (masks, predictions))
    in_range = tf.reduce_all((predictions >= 0) & (predictions < num_classes))
    with tf.control_dependencies([tf.debugging.Assert(in_range, ["predictions must be below", num_classes])]):
        counts = (masks >= 0) & (masks < num_classes)
        # Pixels that do not count go to a cell of their own, since XLA needs static shapes.
        cell = tf.where(counts, masks * num_classes + predictions, num_classes**2)
    totals = tf.math.unsorted_segment_sum(tf.ones_like(cell), cell, num_classes**2 + 1)
    return tf.cast(tf.reshape(totals[:-1], (num_classes, num_classes)), tf.int64)


@dataclasses.dataclass(frozen=True)
class SegmentationScores:
    """Scores of a confusion matrix, in [0, 1].

    Args:
        iou: intersection over union of each class: NaN for classes in neither masks nor predictions.
        accuracy: share of the pixels of each class that are predicted as it: NaN for classes without pixels.
        mean_iou: mean of ``iou`` over classes that are not NaN, called mIoU.
        pixel_accuracy: share of all pixels that are predicted right.
        mean_accuracy: mean of ``accuracy`` over classes that are not NaN.
        frequency_weighted_iou: mean of ``iou``, weighted by the pixels of each class.
    """

    iou: np.ndarray
    accuracy: np.ndarray
    mean_iou: float
    pixel_accuracy: float
    mean_accuracy: float
    frequency_weighted_iou: float


def segmentation_scores(confusion: np.ndarray) -> SegmentationScores:
    """Computes all scores, with the conventions of the published code.

    Args:
        confusion: sum of :func:`confusion_matrix` over a data set.

    Raises:
        ValueError: the matrix is not square, has negative numbers or counts no pixel.

    Reference: Long et al., Fully Convolutional Networks for Semantic Segmentation (CVPR 2015), section 5.

    Example:
        >>> import numpy as np
        >>> from hamgan.segmentation.evaluation.scores import segmentation_scores
        >>> segmentation_scores(np.array([[3, 1], [0, 4]])).mean_iou
        0.775
    """
    counts = np.asarray(confusion, np.float64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or (counts < 0).any() or counts.sum() == 0:
        raise ValueError(f"confusion must be a square matrix of counts with at least one pixel, received {confusion}")
    right, truth = np.diag(counts), counts.sum(axis=1)
    union = truth + counts.sum(axis=0) - right
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN
        iou, accuracy = right / union, right / truth
    present = truth > 0
    return SegmentationScores(
        iou=iou,
        accuracy=accuracy,
        mean_iou=float(np.nanmean(iou)),
        pixel_accuracy=float(right.sum() / truth.sum()),
        mean_accuracy=float(np.nanmean(accuracy)),
        frequency_weighted_iou=float((truth[present] / truth.sum() * iou[present]).sum()),
    )
