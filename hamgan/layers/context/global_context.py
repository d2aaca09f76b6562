"""Global context block."""

from typing import Any

import keras
import tensorflow as tf

from hamgan.architecture import GLOBAL_CONTEXT_FUSIONS, GLOBAL_CONTEXT_POOLINGS
from hamgan.layers.activation import relu
from hamgan.layers.context.residual import ResidualContext, to_positions
from hamgan.layers.precision import accumulation_dtype

LAYER_NORM_EPSILON = 1e-5
MIN_WIDTH = 3


@keras.saving.register_keras_serializable(package="hamgan")
class GlobalContext(ResidualContext):
    """Adds one context vector per image to all positions: ``x + sigma * transform(z)``, where z pools the positions.

    z is the mean of the positions, weighted by ``softmax(mask(x))`` over positions, where mask is a 1x1 convolution to
    one channel. ``transform(z) = expand(relu(layer_norm(reduce(z))))`` has C / reduction channels in between. The
    branch is:

    - "add": ``transform(z)``, as in the paper.
    - "mul": ``x * sigmoid(transform(z))``.
    - "both": ``x * sigmoid(transform_mul(z)) + transform_add(z)``, with two transforms.

    Inputs and outputs have shape ``(batch, height, width, channels)``; height and width may be unknown.

    Args:
        reduction: divisor of the number of channels between the layers of a transform. At least three channels must
            remain: layer normalisation of fewer has no gradient.
        pooling: weights of the positions, "attention" or "average" (all the same, without mask).
        fusion: "add", "mul" or "both".
        use_bias: whether the convolutions have biases, as published.
        spectral_norm: whether to divide the kernels by their spectral norm.
        batch_norm: batch normalisation of the branch: None, "plain" or "conditional" (calls then require labels).
        num_classes: number of classes; only with conditional batch normalisation.
        batch_norm_momentum: decay of the moving averages, in [0, 1).

    Raises:
        ValueError: if an argument is out of range, or too few channels remain.

    Cost: 2 N C (without mask, N C less) + 2 C^2 / reduction per transform, multiply-adds per image of N positions.

    Reference: Cao et al., GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond (ICCV 2019).
    Published blocks start with a last layer of zeros; here sigma is zero, and a second zero would stop all
    training. The published multiplication replaces the input by the scaled one and starts at half of it; here the
    scaled input is the branch.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.layers import GlobalContext
        >>> GlobalContext(reduction=4)(tf.random.normal((2, 8, 8, 16))).shape
        TensorShape([2, 8, 8, 16])
    """

    def __init__(
        self,
        *,
        reduction: int = 4,
        pooling: str = "attention",
        fusion: str = "add",
        use_bias: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if reduction < 1:
            raise ValueError(f"reduction must be positive, received {reduction}")
        for name, value, known in (
            ("pooling", pooling, GLOBAL_CONTEXT_POOLINGS),
            ("fusion", fusion, GLOBAL_CONTEXT_FUSIONS),
        ):
            if value not in known:
                raise ValueError(f"{name} must be one of {known}, received {value!r}")
        self.reduction = reduction
        self.pooling = pooling
        self.fusion = fusion
        self.use_bias = use_bias

    def build_context(self, channels: int) -> None:
        """Creates the mask and the transforms.

        Args:
            channels: number of channels C of inputs and outputs.

        Raises:
            ValueError: if too few channels remain between the layers of a transform.
        """
        width = channels // self.reduction
        if width < MIN_WIDTH:
            raise ValueError(
                f"{self.name} expects at least {MIN_WIDTH * self.reduction} channels with reduction={self.reduction}, "
                f"received {channels}"
            )
        if self.pooling == "attention":
            self.mask = self.conv("mask", channels, 1, use_bias=self.use_bias)
        for kind in ("add", "mul"):
            if self.fusion in (kind, "both"):
                norm = keras.layers.LayerNormalization(
                    epsilon=LAYER_NORM_EPSILON, name=f"{kind}_layer_norm", dtype=self.dtype_policy
                )
                norm.build((None, 1, 1, width))
                setattr(self, f"{kind}_reduce", self.conv(f"{kind}_reduce", channels, width, use_bias=self.use_bias))
                setattr(self, f"{kind}_layer_norm", norm)
                setattr(self, f"{kind}_expand", self.conv(f"{kind}_expand", width, channels, use_bias=self.use_bias))

    def context(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Returns the branch, with the shape of the inputs.

        Args:
            inputs: tensor of shape ``(batch, height, width, channels)``.
            training: whether to update the singular vectors.
        """
        pooled = self._pool(inputs, training)
        if self.fusion == "add":
            return tf.broadcast_to(self._transform("add", pooled, training), tf.shape(inputs))
        scaled = inputs * tf.sigmoid(self._transform("mul", pooled, training))
        return scaled if self.fusion == "mul" else scaled + self._transform("add", pooled, training)

    def _pool(self, inputs: tf.Tensor, training: bool | None) -> tf.Tensor:
        """Returns the weighted mean over positions, shape ``(batch, 1, 1, channels)``."""
        wide = tf.cast(inputs, accumulation_dtype(inputs.dtype))
        if self.pooling == "average":
            pooled = tf.reduce_mean(wide, (1, 2), keepdims=True)
        else:
            logits = to_positions(tf.cast(self.mask(inputs, training=training), wide.dtype))
            weights = tf.nn.softmax(logits, axis=1)
            pooled = tf.matmul(weights, to_positions(wide), transpose_a=True)[:, tf.newaxis]
        return tf.cast(pooled, inputs.dtype)

    def _transform(self, kind: str, pooled: tf.Tensor, training: bool | None) -> tf.Tensor:
        reduced = getattr(self, f"{kind}_reduce")(pooled, training=training)
        return getattr(self, f"{kind}_expand")(relu(getattr(self, f"{kind}_layer_norm")(reduced)), training=training)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "reduction": self.reduction,
            "pooling": self.pooling,
            "fusion": self.fusion,
            "use_bias": self.use_bias,
        }
