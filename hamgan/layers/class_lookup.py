"""Rows of a per-class table, with a dense gradient."""

import tensorflow as tf

from hamgan.layers.gradients import custom_gradient


def class_rows(table: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns ``table[labels]``, one row per label, with a gradient that is a dense tensor.

    ``tf.gather`` alone hands optimizers IndexedSlices in which a class that occurs twice stands twice; Keras
    optimizers do not add such rows up and Adam then takes a wrong step.

    Args:
        table: float, shape ``(num_classes, width)``.
        labels: integers in ``[0, num_classes)``, shape ``(batch,)``.

    Returns:
        Float, shape ``(batch, width)``.
    """
    labels = tf.cast(labels, tf.int32)
    num_classes = table.shape[0]

    @custom_gradient
    def lookup(rows: tf.Tensor) -> tuple[tf.Tensor, object]:
        def grad(upstream: tf.Tensor) -> tf.Tensor:
            return tf.math.unsorted_segment_sum(upstream, labels, num_classes)

        return tf.gather(rows, labels), grad

    return lookup(table)
