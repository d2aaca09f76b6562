"""relu, with less memory on TPUs."""

from typing import Any

import tensorflow as tf

from hamgan.layers.execution import target
from hamgan.layers.gradients import custom_gradient


def relu(inputs: tf.Tensor) -> tf.Tensor:
    """Returns max(inputs, 0), in the shape and dtype of the inputs.

    A TPU's convolutions round float32 to bfloat16, and XLA stores as bfloat16 what only they read. The gradient of
    ``tf.nn.relu`` reads its output too, which is then kept in float32, twice as large. On TPUs the sign is therefore
    read from the rounded output; it is the same one (but below 1e-40).
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
