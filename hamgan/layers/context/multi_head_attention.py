"""Multi-head attention over positions."""

import math
from typing import Any

import keras
import tensorflow as tf

from hamgan.layers.context.heads import check_heads, merge_heads, split_heads
from hamgan.layers.context.residual import ResidualContext, require_positive, to_images, to_positions
from hamgan.layers.precision import softmax


@keras.saving.register_keras_serializable(package="hamgan")
class MultiHeadAttention(ResidualContext):
    """Adds scaled dot-product attention over positions: ``x + sigma * out(concat(head_1, ..., head_h))``.

    ``head_i = softmax(Q_i K_i^T / sqrt(C / h)) V_i``, where Q_i, K_i and V_i are the i-th C / h consecutive channels of
    the 1x1 convolutions query(x), key(x) and value(x). The softmax is over the positions of the keys. out is a 1x1
    convolution, too, and sigma a trainable scalar, initially 0. Inputs and outputs have shape
    ``(batch, height, width, channels)``; height and width may be unknown.

    Differences from the paper: positions are not encoded; the network's convolutions provide them.

    Cost, in multiply-adds for each image of N positions: ``4NC^2 + 2N^2 C``. The memory is quadratic in N.

    Args:
        num_heads: number of heads h, a divisor of the number of channels.
        use_bias: whether the convolutions have a bias; the paper's have none.
        spectral_norm: whether to divide the kernels by their spectral norm.
        batch_norm: batch normalisation of the branch: None, "plain" or "conditional".
        num_classes: number of classes; only with conditional batch normalisation.
        batch_norm_momentum: decay of the moving averages, in [0, 1).

    Raises:
        ValueError: if an argument is out of range, or the channels of the inputs are no multiple of ``num_heads``.

    Reference: Vaswani et al., Attention Is All You Need (NeurIPS 2017), section 3.2.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.layers import MultiHeadAttention
        >>> MultiHeadAttention(num_heads=4)(tf.random.normal((2, 8, 8, 16))).shape
        TensorShape([2, 8, 8, 16])
    """

    def __init__(self, *, num_heads: int = 8, use_bias: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        require_positive(num_heads=num_heads)
        self.num_heads = num_heads
        self.use_bias = use_bias

    def build_context(self, channels: int) -> None:
        """Creates the convolutions."""
        check_heads(self, self.num_heads, channels=channels)
        self.query, self.key, self.value, self.out = (
            self.conv(name, channels, channels, use_bias=self.use_bias) for name in ("query", "key", "value", "out")
        )

    def context(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Computes the branch ``out(concat(head_1, ..., head_h))``; see :meth:`ResidualContext.context`."""
        queries, keys, values = (
            split_heads(to_positions(layer(inputs, training=training)), self.num_heads)
            for layer in (self.query, self.key, self.value)
        )
        scores = tf.matmul(queries, keys, transpose_b=True) / math.sqrt(queries.shape[-1])
        attended = merge_heads(tf.matmul(softmax(scores), values))
        return self.out(to_images(attended, like=inputs), training=training)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "num_heads": self.num_heads, "use_bias": self.use_bias}
