"""Expectation-maximisation attention."""

from typing import Any

import keras
import tensorflow as tf

from hamgan.architecture import EM_GRADIENTS
from hamgan.layers.activation import relu
from hamgan.layers.context.residual import ResidualContext, to_images, to_positions
from hamgan.layers.precision import accumulation_dtype
from hamgan.layers.replica_sum import sum_over_replicas

EPSILON = 1e-6
SMALLEST_SQUARE = 1e-30


@keras.saving.register_keras_serializable(package="hamgan")
class EMAttention(ResidualContext):
    """Attends to K bases, which expectation-maximisation fits to the image: ``x + sigma * conv_out(relu(Z mu^T))``.

    With F = conv_in(x), shape ``(positions, channels)`` for one image, and the running bases as initial bases mu,
    T iterations compute

    - the responsibilities ``Z = softmax(F mu)`` over the bases (E step),
    - the bases ``mu = l2n(F^T (Z / (1e-6 + sum of Z over positions)))`` (M step), with ``l2n(v) = v / (1e-6 + |v|)``.

    Z is that of the last iteration, not computed again from the final mu. conv_in (with bias) and conv_out (without)
    are 1x1 convolutions that keep the number of channels. Half precision is computed in float32 inside the iterations.

    The non-trainable weight ``running_bases``, shape ``(channels, num_bases)``, starts with random columns of unit
    norm. Each training call moves it to ``momentum * running + (1 - momentum) * mean``, where mean is that of the final
    bases of all images on all replicas. The columns are not normalised again, as published. Evaluation does not change
    it.

    Inputs and outputs have shape ``(batch, height, width, channels)``; height and width may be unknown.

    Args:
        num_bases: number of bases K.
        num_steps: number of iterations T.
        bases_momentum: decay of the running bases, in [0, 1).
        gradient: part of the iterations that is differentiated: "none" (as published: Z and mu are constants, the
            branch has no gradient to the inputs, and conv_in is not trainable), "one_step" (the last iteration) or
            "unrolled" (all iterations).
        spectral_norm: whether to divide the kernels by their spectral norm.
        batch_norm: batch normalisation of the branch: None, "plain" (as published) or "conditional" (calls then require
            labels).
        num_classes: number of classes; only with conditional batch normalisation.
        batch_norm_momentum: decay of the moving averages, in [0, 1).

    Raises:
        ValueError: if an argument is out of range.

    Cost: (2 T + 1) N C K + 2 N C^2 multiply-adds per image of N positions.

    Reference: Li et al., Expectation-Maximization Attention Networks for Semantic Segmentation (ICCV 2019). The
    published unit applies relu after the sum; context modules do not, so that they start as the
    identity. "none" keeps what its authors report: conv_in keeps its initial weights.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.layers import EMAttention
        >>> EMAttention(num_bases=8)(tf.random.normal((2, 8, 8, 16))).shape
        TensorShape([2, 8, 8, 16])
    """

    def __init__(
        self,
        *,
        num_bases: int = 64,
        num_steps: int = 3,
        bases_momentum: float = 0.9,
        gradient: str = "none",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if num_bases < 1 or num_steps < 1:
            raise ValueError(f"num_bases and num_steps must be positive, received {num_bases} and {num_steps}")
        if not 0 <= bases_momentum < 1:
            raise ValueError(f"bases_momentum must be in [0, 1), received {bases_momentum}")
        if gradient not in EM_GRADIENTS:
            raise ValueError(f"gradient must be one of {EM_GRADIENTS}, received {gradient!r}")
        self.num_bases = num_bases
        self.num_steps = num_steps
        self.bases_momentum = bases_momentum
        self.gradient = gradient

    def build_context(self, channels: int) -> None:
        """Creates the convolutions and the running bases."""
        self.conv_in = self.conv("conv_in", channels, channels, use_bias=True)
        self.conv_in.trainable = self.gradient != "none"
        self.conv_out = self.conv("conv_out", channels, channels, use_bias=False)
        self.running_bases = self.add_weight(
            name="running_bases",
            shape=(channels, self.num_bases),
            initializer=_UnitColumns(),
            trainable=False,
            autocast=False,
            dtype=accumulation_dtype(self.variable_dtype).name,
            aggregation="only_first_replica",
        )

    def context(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Returns the branch, with the shape of the inputs.

        Args:
            inputs: tensor of shape ``(batch, height, width, channels)``.
            training: whether to update the running bases and the singular vectors.
        """
        features = to_positions(self.conv_in(inputs, training=training))
        features = tf.cast(features, accumulation_dtype(features.dtype))
        running = tf.cast(tf.convert_to_tensor(self.running_bases), features.dtype)
        bases = tf.tile(running[tf.newaxis], (tf.shape(features)[0], 1, 1))
        for step in range(self.num_steps):
            is_constant = self.gradient == "none" or (self.gradient == "one_step" and step < self.num_steps - 1)
            responsibilities, bases = _iterate(tf.stop_gradient(features) if is_constant else features, bases)
        if training:
            self._update(tf.stop_gradient(bases))
        reconstruction = relu(tf.matmul(responsibilities, bases, transpose_b=True))
        return self.conv_out(tf.cast(to_images(reconstruction, inputs), inputs.dtype), training=training)

    def _update(self, bases: tf.Tensor) -> None:
        """Moves the running bases to the mean over all images of all replicas; an empty batch leaves them unchanged."""
        running = tf.convert_to_tensor(self.running_bases)
        count = tf.cast(tf.shape(bases)[0], running.dtype)
        total, count = sum_over_replicas([tf.reduce_sum(tf.cast(bases, running.dtype), axis=0), count])
        weight = (1 - self.bases_momentum) * tf.minimum(count, 1)
        self.running_bases.assign((1 - weight) * running + weight * total / tf.maximum(count, 1))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "num_bases": self.num_bases,
            "num_steps": self.num_steps,
            "bases_momentum": self.bases_momentum,
            "gradient": self.gradient,
        }


class _UnitColumns(keras.initializers.RandomNormal):
    """Columns of unit norm with random directions. Like Keras's own initializers, it works inside a ``tf.function``."""

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> tf.Tensor:
        """Returns a matrix of the given shape."""
        return keras.ops.normalize(super().__call__(shape, dtype=dtype), axis=0)


def _iterate(features: tf.Tensor, bases: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """One E step and one M step: the responsibilities ``(batch, N, K)`` and the new bases ``(batch, C, K)``."""
    responsibilities = tf.nn.softmax(tf.matmul(features, bases))
    weights = responsibilities / (EPSILON + tf.reduce_sum(responsibilities, axis=1, keepdims=True))
    bases = tf.matmul(features, weights, transpose_a=True)
    # The floor keeps the gradient finite where an image of zeros leaves a basis of zeros.
    squares = tf.maximum(tf.reduce_sum(tf.square(bases), axis=1, keepdims=True), SMALLEST_SQUARE)
    return responsibilities, bases / (EPSILON + tf.sqrt(squares))
