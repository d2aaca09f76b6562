"""Validation of class labels and class weights, and rows of tables for both."""

import tensorflow as tf

from hamgan.layers.custom_gradient import custom_gradient
from hamgan.layers.precision import HALF_PRECISION, accumulation_dtype

_ROUNDING_OF_SUM = 1e-3


def class_labels(labels: tf.Tensor, num_classes: int, *, layer: str, examples: tf.Tensor | None = None) -> tf.Tensor:
    """Validates labels and returns them as int32 of shape ``(batch,)``.

    Args:
        labels: integers in ``[0, num_classes)``, or whole numbers in float32 or float64, shape ``(batch,)`` or
            ``(batch, 1)``.
        num_classes: number of classes.
        layer: name of the layer, for error messages.
        examples: tensor whose first dimension is the expected batch size; None skips this check. A single label is
            not broadcast.

    Raises:
        ValueError: if the shape or dtype is wrong, or, in eager mode, if a label is out of range.
        tf.errors.InvalidArgumentError: if a label is out of range, or the number of labels is wrong, when a graph runs.
            XLA drops these two checks.
    """
    labels = tf.convert_to_tensor(labels)
    is_float = labels.dtype.is_floating and labels.dtype not in HALF_PRECISION
    if not (labels.dtype.is_integer or is_float):
        raise ValueError(
            f"{layer} expects labels as integers, or as whole numbers in float32 or float64, "
            f"received {labels.dtype.name}"
        )
    shape = labels.shape
    batch = None if examples is None else examples.shape[0]
    if not (shape.is_compatible_with((batch,)) or shape.is_compatible_with((batch, 1))):
        expected = "batch" if batch is None else batch
        raise ValueError(f"{layer} expects labels of shape ({expected},) or ({expected}, 1), received {shape}")

    integers = tf.cast(labels, tf.int64)
    in_range = tf.logical_and(integers >= 0, integers < num_classes)
    if is_float:
        in_range = tf.logical_and(in_range, tf.equal(tf.cast(integers, labels.dtype), labels))
    all_in_range = tf.reduce_all(in_range)
    requirement = f"{layer} expects labels in [0, {num_classes}), received"
    if tf.executing_eagerly():
        if not all_in_range:
            raise ValueError(f"{requirement} {labels[tf.logical_not(in_range)][0].numpy()}")
    else:
        tf.debugging.Assert(all_in_range, [requirement, labels])
        if examples is not None and None in (batch, shape.rank and shape[0]):
            expected = tf.shape(examples)[0]
            tf.debugging.Assert(
                tf.equal(tf.size(labels), expected),
                [f"{layer} expects one label for each of this many examples, then received", expected, labels],
            )
    return tf.reshape(tf.cast(integers, tf.int32), (-1,))


def check_class_weights(
    class_weights: tf.Tensor, num_classes: int, *, layer: str, examples: tf.Tensor | None = None
) -> tf.Tensor:
    """Validates class weights and returns them as a tensor.

    Args:
        class_weights: weight of each class in the condition of each example, float32 or float64, shape
            ``(batch, num_classes)``; rows sum to 1, to within 1e-3. Negative weights extrapolate.
        num_classes: number of classes.
        layer: name of the layer, for error messages.
        examples: tensor whose first dimension is the expected batch size; None skips this check. A single row is not
            broadcast.

    Raises:
        ValueError: if the shape or dtype is wrong, or, in eager mode, if a row does not sum to 1.
        tf.errors.InvalidArgumentError: if a row does not sum to 1, or the number of rows is wrong, when a graph runs.
            XLA drops these two checks.
    """
    weights = tf.convert_to_tensor(class_weights)
    if not weights.dtype.is_floating or weights.dtype in HALF_PRECISION:
        raise ValueError(f"{layer} expects class_weights in float32 or float64, received {weights.dtype.name}")
    shape = weights.shape
    batch = None if examples is None else examples.shape[0]
    if not shape.is_compatible_with((batch, num_classes)):
        expected = "batch" if batch is None else batch
        raise ValueError(f"{layer} expects class_weights of shape ({expected}, {num_classes}), received {shape}")

    sums = tf.reduce_sum(weights, axis=1)
    sum_to_one = tf.abs(sums - 1.0) <= _ROUNDING_OF_SUM
    all_sum_to_one = tf.reduce_all(sum_to_one)
    requirement = f"{layer} expects class_weights whose rows sum to 1, received a sum of"
    if tf.executing_eagerly():
        if not all_sum_to_one:
            raise ValueError(f"{requirement} {sums[tf.logical_not(sum_to_one)][0].numpy():.6g}")
    else:
        tf.debugging.Assert(all_sum_to_one, [requirement, sums])
        if examples is not None and None in (batch, shape.rank and shape[0]):
            expected = tf.shape(examples)[0]
            tf.debugging.Assert(
                tf.equal(tf.shape(weights)[0], expected),
                [f"{layer} expects a row of class_weights for each of this many examples", expected, tf.shape(weights)],
            )
    return weights


def class_condition(
    labels: tf.Tensor | None,
    class_weights: tf.Tensor | None,
    num_classes: int,
    *,
    layer: str,
    examples: tf.Tensor | None = None,
) -> dict[str, tf.Tensor]:
    """Validates class weights, or labels if there are no class weights.

    Returns:
        The result of :func:`check_class_weights` or of :func:`class_labels`, by its name: "class_weights" or "labels".

    Raises:
        ValueError: if both are None, or the one in use is wrong.
    """
    if class_weights is not None:
        return {"class_weights": check_class_weights(class_weights, num_classes, layer=layer, examples=examples)}
    if labels is None:
        raise ValueError(f"{layer} expects labels or class_weights, received neither")
    return {"labels": class_labels(labels, num_classes, layer=layer, examples=examples)}


def class_rows(table: tf.Tensor, labels: tf.Tensor | None = None, class_weights: tf.Tensor | None = None) -> tf.Tensor:
    """Returns ``table[labels]`` with a dense gradient, or ``class_weights @ table``.

    One-hot weights give the rows of the labels, exactly.

    The gradient of ``tf.gather`` is an IndexedSlices with one entry per label. Keras optimizers do not sum the entries
    of repeated labels, so that Adam would take a wrong step. This gradient sums them, in float32 or wider.

    Args:
        table: float tensor of shape ``(num_classes, width)``, in the dtype of its variable.
        labels: int32 tensor in ``[0, num_classes)``, shape ``(batch,)``, from :func:`class_labels`; not used with
            ``class_weights``.
        class_weights: float tensor of shape ``(batch, num_classes)``, from :func:`check_class_weights`.

    Returns:
        Float tensor of shape ``(batch, width)``, in the dtype of the table.
    """
    if class_weights is not None:
        # In float64, because GPUs and TPUs round the factors of float32 products to as little as 8 bits.
        return tf.cast(tf.matmul(tf.cast(class_weights, tf.float64), tf.cast(table, tf.float64)), table.dtype)
    num_classes = table.shape[0]

    @custom_gradient
    def lookup(rows: tf.Tensor) -> tuple[tf.Tensor, object]:
        def grad(upstream: tf.Tensor) -> tf.Tensor:
            wide = tf.cast(upstream, accumulation_dtype(upstream.dtype))
            return tf.cast(tf.math.unsorted_segment_sum(wide, labels, num_classes), upstream.dtype)

        return tf.gather(rows, labels), grad

    return lookup(table)
