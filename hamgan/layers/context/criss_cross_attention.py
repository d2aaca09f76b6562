"""Criss-cross attention."""

from typing import Any

import keras
import tensorflow as tf

from hamgan.layers.context.residual import ResidualContext, require_positive
from hamgan.layers.precision import softmax


@keras.saving.register_keras_serializable(package="hamgan")
class CrissCrossAttention(ResidualContext):
    """Adds attention of each position over its row and column, twice by default.

    ``x_{t+1} = x_t + sigma * A(x_t)``, with the same weights in each of ``recurrence`` passes: after the second,
    information from every position has reached every other one. For a position, A weighs the values of the H + W - 1
    positions of its row and column by one softmax over the products of its query with their keys, without a scale.

    query and key (C to C // reduction channels) and value (C to C) are 1x1 convolutions. sigma is a trainable scalar,
    initially 0. Since all passes use sigma, the branch ``context(x) = (x_T - x_0) / sigma`` depends on it, too, unless
    ``recurrence=1``. Batch normalisation applies to the branch, after the last pass. Inputs and outputs have shape
    ``(batch, height, width, channels)``; height and width may be unknown.

    In CCNet, the module stands between 3x3 convolutions at C / 4 channels, which are not part of it.

    Cost, in multiply-adds for each image of N positions and pass, with c = max(C // reduction, 1): ``NC(2c + C) +
    N(H + W)(c + C)``.

    Args:
        recurrence: number of passes; after one, positions see their row and column only.
        reduction: ratio of C to the channels of queries and keys.
        use_bias: whether the convolutions have a bias.
        spectral_norm: whether to divide the kernels by their spectral norm.
        batch_norm: batch normalisation of the branch: None, "plain" or "conditional".
        num_classes: number of classes; only with conditional batch normalisation.
        batch_norm_momentum: decay of the moving averages, in [0, 1).

    Raises:
        ValueError: if an argument is out of range.

    Reference: Huang et al., CCNet: Criss-Cross Attention for Semantic Segmentation (ICCV 2019), sections 3.2 and 3.3.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.layers import CrissCrossAttention
        >>> CrissCrossAttention()(tf.random.normal((2, 8, 8, 16))).shape
        TensorShape([2, 8, 8, 16])
    """

    def __init__(self, *, recurrence: int = 2, reduction: int = 8, use_bias: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        require_positive(recurrence=recurrence, reduction=reduction)
        self.recurrence = recurrence
        self.reduction = reduction
        self.use_bias = use_bias

    def build_context(self, channels: int) -> None:
        """Creates the convolutions."""
        inner = max(channels // self.reduction, 1)
        self.query = self.conv("query", channels, inner, use_bias=self.use_bias)
        self.key = self.conv("key", channels, inner, use_bias=self.use_bias)
        self.value = self.conv("value", channels, channels, use_bias=self.use_bias)

    def context(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Computes the branch, the sum of A over all passes; see :meth:`ResidualContext.context`."""
        sigma, total = tf.cast(self.sigma, inputs.dtype), tf.zeros_like(inputs)
        for step in range(self.recurrence):
            # The last pass updates the singular vectors, so that all passes have the same kernels.
            is_last = step == self.recurrence - 1
            total += self._attend(inputs + sigma * total if step else inputs, training if is_last else False)
        return total

    def _attend(self, inputs: tf.Tensor, training: bool | None) -> tf.Tensor:
        queries, keys, values = (layer(inputs, training=training) for layer in (self.query, self.key, self.value))
        height = tf.shape(inputs)[1]
        column = tf.einsum("bhwc,bgwc->bhwg", queries, keys)
        # The position itself counts once, in its row.
        own = tf.eye(height, dtype=tf.bool)[tf.newaxis, :, tf.newaxis, :]
        column = tf.where(own, column.dtype.min, column)
        row = tf.einsum("bhwc,bhvc->bhwv", queries, keys)
        weights = softmax(tf.concat([column, row], axis=-1))
        attended = tf.einsum("bhwg,bgwc->bhwc", weights[..., :height], values)
        return attended + tf.einsum("bhwv,bhvc->bhwc", weights[..., height:], values)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "recurrence": self.recurrence,
            "reduction": self.reduction,
            "use_bias": self.use_bias,
        }
