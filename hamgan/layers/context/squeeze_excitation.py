"""Squeeze-and-excitation."""

from typing import Any

import keras
import tensorflow as tf

from hamgan.layers.activation import relu
from hamgan.layers.context.residual import ResidualContext
from hamgan.layers.precision import accumulation_dtype


@keras.saving.register_keras_serializable(package="hamgan")
class SqueezeExcitation(ResidualContext):
    """Scales channels by a function of their means: ``x + sigma * x * sigmoid(excite(relu(squeeze(mean(x)))))``.

    squeeze (C to C / reduction channels) and excite (C / reduction to C) act on the mean over all positions of an
    image. Every position gets the same factors, so the module is a control: context without any place.

    Inputs and outputs have shape ``(batch, height, width, channels)``; height and width may be unknown.

    Args:
        reduction: divisor of the number of channels between the two layers; at least one channel remains.
        use_bias: whether squeeze and excite have biases. The paper's journal version recommends none.
        spectral_norm: whether to divide the kernels by their spectral norm.
        batch_norm: batch normalisation of the branch: None, "plain" or "conditional" (calls then require labels).
        num_classes: number of classes; only with conditional batch normalisation.
        batch_norm_momentum: decay of the moving averages, in [0, 1).

    Raises:
        ValueError: if an argument is out of range.

    Cost: 2 C^2 / reduction multiply-adds per image.

    Reference: Hu et al., Squeeze-and-Excitation Networks (CVPR 2018). There, the scaled channels replace the
    input, or are the branch of a residual block. Here they are the branch, so that the module starts as the identity,
    as all context modules do.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.layers import SqueezeExcitation
        >>> SqueezeExcitation(reduction=4)(tf.random.normal((2, 8, 8, 16))).shape
        TensorShape([2, 8, 8, 16])
    """

    def __init__(self, *, reduction: int = 16, use_bias: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if reduction < 1:
            raise ValueError(f"reduction must be positive, received {reduction}")
        self.reduction = reduction
        self.use_bias = use_bias

    def build_context(self, channels: int) -> None:
        """Creates the two layers."""
        width = max(channels // self.reduction, 1)
        self.squeeze = self.conv("squeeze", channels, width, use_bias=self.use_bias)
        self.excite = self.conv("excite", width, channels, use_bias=self.use_bias)

    def context(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Returns the scaled channels, the branch, with the shape of the inputs.

        Args:
            inputs: tensor of shape ``(batch, height, width, channels)``.
            training: whether to update the singular vectors.
        """
        wide = tf.cast(inputs, accumulation_dtype(inputs.dtype))
        mean = tf.cast(tf.reduce_mean(wide, (1, 2), keepdims=True), inputs.dtype)
        hidden = relu(self.squeeze(mean, training=training))
        return inputs * tf.sigmoid(self.excite(hidden, training=training))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "reduction": self.reduction, "use_bias": self.use_bias}
