"""Efficient attention."""

from typing import Any

import keras
import tensorflow as tf

from hamgan.layers.context.heads import check_heads, merge_heads, split_heads
from hamgan.layers.context.residual import ResidualContext, require_positive, to_images, to_positions
from hamgan.layers.precision import softmax

DIVISOR = 2


@keras.saving.register_keras_serializable(package="hamgan")
class EfficientAttention(ResidualContext):
    """Adds attention that is linear in the number of positions: ``x + sigma * out(softmax(Q) (softmax(K)^T V))``.

    query and key (C to k channels) and value (C to v) are 1x1 convolutions. Each of h heads has k / h and v / h
    consecutive channels of these. The softmax of K is over positions, that of Q over the channels of the head. out is a
    1x1 convolution from v to C channels. sigma is a trainable scalar, initially 0. Inputs and outputs have shape
    ``(batch, height, width, channels)``; height and width may be unknown.

    Of the paper's two normalisations, softmax and scaling, this is the softmax. sigma is not in the published code.

    Cost, in multiply-adds for each image of N positions: ``NC(2k + v) + 2Nkv/h + NvC``.

    Args:
        key_channels: number of channels k, a multiple of ``num_heads``; None means max(C // 2, 1).
        value_channels: number of channels v, a multiple of ``num_heads``; None means max(C // 2, 1).
        num_heads: number of heads h.
        use_bias: whether the convolutions have a bias.
        spectral_norm: whether to divide the kernels by their spectral norm.
        batch_norm: batch normalisation of the branch: None, "plain" or "conditional".
        num_classes: number of classes; only with conditional batch normalisation.
        batch_norm_momentum: decay of the moving averages, in [0, 1).

    Raises:
        ValueError: if an argument is out of range, or ``num_heads`` divides not all channels.

    Reference: Shen et al., Efficient Attention: Attention with Linear Complexities (WACV 2021), section 3.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.layers import EfficientAttention
        >>> EfficientAttention(num_heads=2)(tf.random.normal((2, 8, 8, 16))).shape
        TensorShape([2, 8, 8, 16])
    """

    def __init__(
        self,
        *,
        key_channels: int | None = None,
        value_channels: int | None = None,
        num_heads: int = 1,
        use_bias: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        require_positive(key_channels=key_channels, value_channels=value_channels, num_heads=num_heads)
        self.key_channels = key_channels
        self.value_channels = value_channels
        self.num_heads = num_heads
        self.use_bias = use_bias

    def build_context(self, channels: int) -> None:
        """Creates the convolutions."""
        keys = self.key_channels or max(channels // DIVISOR, 1)
        values = self.value_channels or max(channels // DIVISOR, 1)
        check_heads(self, self.num_heads, key_channels=keys, value_channels=values)
        self.query = self.conv("query", channels, keys, use_bias=self.use_bias)
        self.key = self.conv("key", channels, keys, use_bias=self.use_bias)
        self.value = self.conv("value", channels, values, use_bias=self.use_bias)
        self.out = self.conv("out", values, channels, use_bias=self.use_bias)

    def context(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Computes the branch ``out(softmax(Q) (softmax(K)^T V))``; see :meth:`ResidualContext.context`."""
        queries, keys, values = (
            split_heads(to_positions(layer(inputs, training=training)), self.num_heads)
            for layer in (self.query, self.key, self.value)
        )
        summary = tf.matmul(softmax(keys, axis=2), values, transpose_a=True)
        attended = merge_heads(tf.matmul(softmax(queries), summary))
        return self.out(to_images(attended, like=inputs), training=training)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "key_channels": self.key_channels,
            "value_channels": self.value_channels,
            "num_heads": self.num_heads,
            "use_bias": self.use_bias,
        }
