"""Non-local block."""

import math
from typing import Any

import keras
import tensorflow as tf

from hamgan.architecture import NON_LOCAL_MODES
from hamgan.layers.context.residual import ResidualContext, require_positive, to_images, to_positions
from hamgan.layers.precision import softmax


@keras.saving.register_keras_serializable(package="hamgan")
class NonLocal(ResidualContext):
    """Adds a sum over all positions, weighted by pairwise similarity: ``x + sigma * out(A g(x))``.

    With X the N positions of an image, the weights A of shape ``(N, N)`` are:

    - "gaussian": softmax(X X^T).
    - "embedded_gaussian": softmax(theta(X) phi(X)^T / sqrt(d)), without the division if ``use_scale=False``.
    - "dot_product": theta(X) phi(X)^T / N.

    The softmax is over the second index: each row of A sums to 1. theta, phi, g (C to d channels) and out (d to C) are
    1x1 convolutions. sigma is a trainable scalar, initially 0. Inputs and outputs have shape
    ``(batch, height, width, channels)``; height and width may be unknown.

    Differences from the paper: the scale 1 / sqrt(d) is that of published implementations; ``use_scale=False`` is the
    paper's form. sigma takes the place of the last batch normalisation with a scale of 0. There is no sub-sampling, and
    the paper's fourth mode, concatenation, is not available.

    Cost, in multiply-adds for each image: ``4NCd + 2N^2 d``; in mode "gaussian", ``2NCd + N^2 (C + d)``. The memory is
    quadratic in N.

    Args:
        mode: similarity, "gaussian", "embedded_gaussian" or "dot_product".
        reduction: ratio of C to d = max(C // reduction, 1).
        use_scale: whether to divide by sqrt(d); False only in mode "embedded_gaussian".
        use_bias: whether the convolutions have a bias.
        spectral_norm: whether to divide the kernels by their spectral norm.
        batch_norm: batch normalisation of the branch: None, "plain" or "conditional".
        num_classes: number of classes; only with conditional batch normalisation.
        batch_norm_momentum: decay of the moving averages, in [0, 1).

    Raises:
        ValueError: if an argument is out of range or does not apply to the mode.

    Reference: Wang et al., Non-local Neural Networks (CVPR 2018), section 3.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.layers import NonLocal
        >>> NonLocal()(tf.random.normal((2, 8, 8, 16))).shape
        TensorShape([2, 8, 8, 16])
    """

    def __init__(
        self,
        *,
        mode: str = "embedded_gaussian",
        reduction: int = 2,
        use_scale: bool = True,
        use_bias: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if mode not in NON_LOCAL_MODES:
            raise ValueError(f"mode must be one of {NON_LOCAL_MODES}, received {mode!r}")
        if not use_scale and mode != "embedded_gaussian":
            raise ValueError(f"use_scale=False goes with mode='embedded_gaussian', received {mode!r}")
        require_positive(reduction=reduction)
        self.mode = mode
        self.reduction = reduction
        self.use_scale = use_scale
        self.use_bias = use_bias

    def build_context(self, channels: int) -> None:
        """Creates the convolutions."""
        inner = max(channels // self.reduction, 1)
        if self.mode != "gaussian":
            self.theta = self.conv("theta", channels, inner, use_bias=self.use_bias)
            self.phi = self.conv("phi", channels, inner, use_bias=self.use_bias)
        self.g = self.conv("g", channels, inner, use_bias=self.use_bias)
        self.out = self.conv("out", inner, channels, use_bias=self.use_bias)

    def context(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Computes the branch ``out(A g(x))``; see :meth:`ResidualContext.context`."""
        values = to_positions(self.g(inputs, training=training))
        if self.mode == "gaussian":
            queries = keys = to_positions(inputs)
        else:
            queries = to_positions(self.theta(inputs, training=training))
            keys = to_positions(self.phi(inputs, training=training))
        scores = tf.matmul(queries, keys, transpose_b=True)
        if self.mode == "dot_product":
            weights = scores / tf.cast(tf.shape(scores)[-1], scores.dtype)
        elif self.mode == "embedded_gaussian" and self.use_scale:
            weights = softmax(scores / math.sqrt(queries.shape[-1]))
        else:
            weights = softmax(scores)
        return self.out(to_images(tf.matmul(weights, values), like=inputs), training=training)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "mode": self.mode,
            "reduction": self.reduction,
            "use_scale": self.use_scale,
            "use_bias": self.use_bias,
        }
