"""External attention."""

from typing import Any

import keras
import tensorflow as tf

from hamgan.layers.context.residual import ResidualContext, to_images, to_positions
from hamgan.layers.precision import accumulation_dtype


@keras.saving.register_keras_serializable(package="hamgan")
class ExternalAttention(ResidualContext):
    """Attends to S learned memory slots: ``x + sigma * conv_out(memory_value(normalize(memory_key(conv_in(x)))))``.

    memory_key (C to S channels) and memory_value (S to C) are 1x1 convolutions without bias, whose kernels are the
    memories. The normalisation is a softmax over the positions, followed by division by the sum over the slots plus
    epsilon. conv_in (with bias) and conv_out (without) are 1x1 convolutions that keep the number of channels.

    Inputs and outputs have shape ``(batch, height, width, channels)``; height and width may be unknown.

    Args:
        num_memories: number of memory slots S.
        convolutions: whether there are conv_in and conv_out, as in the paper's networks; without them, the module is
            the paper's equation.
        epsilon: constant added to the sum over the slots.
        use_bias: whether conv_in has a bias, as published; the softmax cancels it.
        spectral_norm: whether to divide the kernels by their spectral norm, those of the memories included.
        batch_norm: batch normalisation of the branch: None, "plain" or "conditional" (calls then require labels).
        num_classes: number of classes; only with conditional batch normalisation.
        batch_norm_momentum: decay of the moving averages, in [0, 1).

    Raises:
        ValueError: if an argument is out of range.

    Cost: 2 N C S, with convolutions + 2 N C^2, multiply-adds per image of N positions.

    Reference: Guo et al., Beyond Self-attention: External Attention using Two Linear Layers for Visual Tasks (2021).
    The paper's networks apply relu after the sum; context modules do not, so that they start as the
    identity. Their memories start as each other's transposes; here they are drawn independently.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.layers import ExternalAttention
        >>> ExternalAttention(num_memories=8)(tf.random.normal((2, 8, 8, 16))).shape
        TensorShape([2, 8, 8, 16])
    """

    def __init__(
        self,
        *,
        num_memories: int = 64,
        convolutions: bool = True,
        epsilon: float = 1e-9,
        use_bias: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if num_memories < 1:
            raise ValueError(f"num_memories must be positive, received {num_memories}")
        if epsilon < 0:
            raise ValueError(f"epsilon must not be negative, received {epsilon}")
        self.num_memories = num_memories
        self.convolutions = convolutions
        self.epsilon = epsilon
        self.use_bias = use_bias

    def build_context(self, channels: int) -> None:
        """Creates the memories and the convolutions."""
        if self.convolutions:
            self.conv_in = self.conv("conv_in", channels, channels, use_bias=self.use_bias)
            self.conv_out = self.conv("conv_out", channels, channels, use_bias=False)
        self.memory_key = self.conv("memory_key", channels, self.num_memories, use_bias=False)
        self.memory_value = self.conv("memory_value", self.num_memories, channels, use_bias=False)

    def context(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Returns the branch, with the shape of the inputs.

        Args:
            inputs: tensor of shape ``(batch, height, width, channels)``.
            training: whether to update the singular vectors.
        """
        features = self.conv_in(inputs, training=training) if self.convolutions else inputs
        logits = self.memory_key(features, training=training)
        wide = tf.cast(logits, accumulation_dtype(inputs.dtype))
        over_positions = tf.nn.softmax(to_positions(wide), axis=1)
        over_slots = over_positions / (self.epsilon + tf.reduce_sum(over_positions, -1, keepdims=True))
        attention = tf.cast(to_images(over_slots, inputs), inputs.dtype)
        outputs = self.memory_value(attention, training=training)
        return self.conv_out(outputs, training=training) if self.convolutions else outputs

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "num_memories": self.num_memories,
            "convolutions": self.convolutions,
            "epsilon": self.epsilon,
            "use_bias": self.use_bias,
        }
