"""A relu that needs less memory on TPUs."""

from typing import Any

import tensorflow as tf

from hamgan.layers.custom_gradient import custom_gradient
from hamgan.layers.execution import target


def relu(inputs: tf.Tensor) -> tf.Tensor:
    """Computes max(inputs, 0).

    TPU convolutions round float32 inputs to bfloat16, so XLA can store an activation in bfloat16 if only convolutions
    read it. The gradient of ``tf.nn.relu`` also reads its output and thus forces float32 storage, twice as large.
    On TPUs, this gradient therefore reads the sign from the output rounded to bfloat16. The sign is the same, except
    for outputs below 1e-40.

    Args:
        inputs: float tensor of any shape.

    Returns:
        Tensor with the shape and dtype of the inputs.
    """
    if target() != "tpu" or inputs.dtype != tf.float32:
        return tf.nn.relu(inputs)

    @custom_gradient
    def call(x: tf.Tensor) -> tuple[tf.Tensor, Any]:
        outputs = tf.nn.relu(tf.stop_gradient(x))

        def grad(upstream: tf.Tensor) -> tf.Tensor:
            return tf.where(tf.cast(outputs, tf.bfloat16) > 0, upstream, tf.zeros_like(upstream))

        return outputs, grad

    return call(inputs)
