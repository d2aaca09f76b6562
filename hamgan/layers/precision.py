"""Accumulation in float32: a running sum of ones stops at 256 in bfloat16, and at 2048 in float16."""

import tensorflow as tf

from hamgan.layers.custom_gradient import custom_gradient

HALF_PRECISION = (tf.bfloat16, tf.float16)


def accumulation_dtype(dtype: tf.DType | str) -> tf.DType:
    """Returns the dtype in which to accumulate values of ``dtype``: float32 for half precision, else ``dtype``."""
    dtype = tf.as_dtype(dtype)
    return tf.float32 if dtype in HALF_PRECISION else dtype


def softmax(logits: tf.Tensor, axis: int = -1) -> tf.Tensor:
    """Computes the softmax in float32 or wider, and returns it in the dtype of ``logits``."""
    wide = tf.nn.softmax(tf.cast(logits, accumulation_dtype(logits.dtype)), axis=axis)
    return tf.cast(wide, logits.dtype)


def add_bias(inputs: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """Computes ``inputs + bias``, and accumulates the gradient of the bias in float32 or wider.

    ``tf.nn.bias_add`` accumulates it in the dtype of the inputs: in bfloat16, 32,768 ones sum to 256.

    Args:
        inputs: tensor of shape ``(..., channels)``.
        bias: tensor of shape ``(channels,)``, in the dtype of the inputs or a wider one.

    Returns:
        Tensor with the shape and dtype of the inputs.
    """
    if inputs.dtype == bias.dtype and inputs.dtype not in HALF_PRECISION:
        return tf.nn.bias_add(inputs, bias)

    @custom_gradient
    def add(x: tf.Tensor, bias: tf.Tensor) -> tuple[tf.Tensor, object]:
        def grad(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            wide = tf.cast(upstream, accumulation_dtype(bias.dtype))
            return upstream, tf.cast(tf.reduce_sum(wide, tuple(range(x.shape.rank - 1))), bias.dtype)

        return x + tf.cast(bias, x.dtype), grad

    return add(inputs, bias)
