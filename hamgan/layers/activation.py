"""A relu that needs less memory on TPUs."""

from typing import Any

import tensorflow as tf

from hamgan.layers.custom_gradient import custom_gradient
from hamgan.layers.execution import target


def relu(inputs: tf.Tensor, *, stores_mask: bool = False) -> tf.Tensor:
    """Computes max(inputs, 0).

    TPU convolutions and products round float32 inputs to bfloat16, so XLA can store an activation in bfloat16 if only
    they read it. The gradient of ``tf.nn.relu`` also reads its output and thus forces float32 storage, twice as large.
    On TPUs, this gradient therefore reads the sign from the output rounded to bfloat16. The sign is the same, except
    for outputs below 1e-40.

    Args:
        inputs: float tensor of any shape.
        stores_mask: whether to store a boolean mask for the backward pass elsewhere. It is a quarter of the size of
            the output, but an additional array if the backward pass needs the output anyway.

    Returns:
        Tensor with the shape and dtype of the inputs.
    """
    reads_rounded = target() == "tpu" and inputs.dtype == tf.float32
    if not (reads_rounded or stores_mask):
        return tf.nn.relu(inputs)

    @custom_gradient
    def call(x: tf.Tensor) -> tuple[tf.Tensor, Any]:
        x = tf.stop_gradient(x)
        outputs = tf.nn.relu(x)
        mask = None if reads_rounded else x > 0

        def grad(upstream: tf.Tensor) -> tf.Tensor:
            is_positive = tf.cast(outputs, tf.bfloat16) > 0 if mask is None else mask
            return tf.where(is_positive, upstream, tf.zeros_like(upstream))

        return outputs, grad

    return call(inputs)
