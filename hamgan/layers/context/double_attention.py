"""Double attention."""

from typing import Any

import keras
import tensorflow as tf

from hamgan.layers.context.residual import ResidualContext, require_positive, to_images, to_positions
from hamgan.layers.precision import softmax

DIVISOR = 4


@keras.saving.register_keras_serializable(package="hamgan")
class DoubleAttention(ResidualContext):
    """Gathers features over positions, then distributes them: ``x + sigma * out(distribute(gather(x)))``.

    With the 1x1 convolutions A (C to m channels), B and V (C to n), for N positions:

    - gather: ``G = A^T softmax(B)``, shape ``(m, n)``, softmax over the N positions.
    - distribute: ``Z = softmax(V) G^T``, shape ``(N, m)``, softmax over the n channels.

    out is a 1x1 convolution from m to C channels. sigma is a trainable scalar, initially 0. Inputs and outputs have
    shape ``(batch, height, width, channels)``; height and width may be unknown.

    The axes are those of the paper. A widely used implementation calls softmax without an axis, which normalises over
    the batch: images then depend on each other. That implementation has no residual sum, and sigma is not in
    the paper; they are the contract of context modules.

    Cost, in multiply-adds for each image: ``NC(m + 2n) + 2Nmn + NmC``, linear in N.

    Args:
        feature_channels: number of channels m of the features that are gathered; None means max(C // 4, 1).
        attention_channels: number of attention maps n; None means max(C // 4, 1).
        use_bias: whether the convolutions have a bias.
        spectral_norm: whether to divide the kernels by their spectral norm.
        batch_norm: batch normalisation of the branch: None, "plain" or "conditional".
        num_classes: number of classes; only with conditional batch normalisation.
        batch_norm_momentum: decay of the moving averages, in [0, 1).

    Raises:
        ValueError: if an argument is out of range.

    Reference: Chen et al., A^2-Nets: Double Attention Networks (NeurIPS 2018), section 3.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.layers import DoubleAttention
        >>> DoubleAttention()(tf.random.normal((2, 8, 8, 16))).shape
        TensorShape([2, 8, 8, 16])
    """

    def __init__(
        self,
        *,
        feature_channels: int | None = None,
        attention_channels: int | None = None,
        use_bias: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        require_positive(feature_channels=feature_channels, attention_channels=attention_channels)
        self.feature_channels = feature_channels
        self.attention_channels = attention_channels
        self.use_bias = use_bias

    def build_context(self, channels: int) -> None:
        """Creates the convolutions."""
        features = self.feature_channels or max(channels // DIVISOR, 1)
        maps = self.attention_channels or max(channels // DIVISOR, 1)
        self.features = self.conv("features", channels, features, use_bias=self.use_bias)
        self.gather = self.conv("gather", channels, maps, use_bias=self.use_bias)
        self.distribute = self.conv("distribute", channels, maps, use_bias=self.use_bias)
        self.out = self.conv("out", features, channels, use_bias=self.use_bias)

    def context(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Computes the branch ``out(distribute(gather(x)))``; see :meth:`ResidualContext.context`."""
        features, gather, distribute = (
            to_positions(layer(inputs, training=training)) for layer in (self.features, self.gather, self.distribute)
        )
        gathered = tf.matmul(features, softmax(gather, axis=1), transpose_a=True)
        distributed = tf.matmul(softmax(distribute), gathered, transpose_b=True)
        return self.out(to_images(distributed, like=inputs), training=training)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "feature_channels": self.feature_channels,
            "attention_channels": self.attention_channels,
            "use_bias": self.use_bias,
        }
