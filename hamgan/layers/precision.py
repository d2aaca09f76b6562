"""Sums that half precision would get wrong: a running sum in bfloat16 stops at 256, one in float16 at 2048."""

import tensorflow as tf

from hamgan.layers.gradients import custom_gradient

HALF_PRECISION = (tf.bfloat16, tf.float16)


def accumulation_dtype(dtype: tf.DType | str) -> tf.DType:
    """Returns the dtype that values of ``dtype`` are summed and averaged in: float32 for half precision."""
    dtype = tf.as_dtype(dtype)
    return tf.float32 if dtype in HALF_PRECISION else dtype


def add_bias(inputs: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """Returns ``inputs + bias``; the gradient to the bias is summed in float32 or wider.

    ``tf.nn.bias_add`` sums it one by one in the dtype of the inputs: 256 instead of 32,768 in bfloat16.

    Args:
        inputs: shape ``(..., channels)``.
        bias: shape ``(channels,)``, in the dtype of the inputs or a wider one.

    Returns:
        The shape and dtype of the inputs.
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
