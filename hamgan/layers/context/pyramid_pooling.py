"""Pyramid pooling."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from hamgan.layers.activation import relu
from hamgan.layers.bilinear_resize import interpolation_matrix, resample
from hamgan.layers.context.residual import ResidualContext
from hamgan.layers.precision import accumulation_dtype

ACTIVATIONS = ("relu", None)
BRANCH_DIVISOR = 4


@keras.saving.register_keras_serializable(package="hamgan")
class PyramidPooling(ResidualContext):
    """Adds averages over the cells of several grids: ``x + sigma * project(concat(x, branch_1, ..., branch_n))``.

    Branch s averages the image over s x s cells, applies a 1x1 convolution (C to c channels) and an activation, and
    interpolates to the image's size. Cell i of s covers the rows from ``floor(i H / s)`` up to ``ceil((i + 1) H / s)``
    (exclusive) of H, likewise for columns: cells overlap where s does not divide the size. The interpolation is
    bilinear and does not align corners: row i takes its value at ``max((i + 0.5) s / H - 0.5, 0)`` of the s rows.
    project is a 1x1 convolution (C + n c to C) without bias.

    Inputs and outputs have shape ``(batch, height, width, channels)``; height and width may be unknown, and may be
    smaller than a grid.

    Args:
        scales: numbers of cells s per side.
        branch_channels: number of channels c of a branch; None means C / 4, at least 1.
        activation: "relu", or None for none.
        use_bias: whether the convolutions of the branches have biases.
        spectral_norm: whether to divide the kernels by their spectral norm.
        batch_norm: batch normalisation of the branch: None, "plain" or "conditional" (calls then require labels).
        num_classes: number of classes; only with conditional batch normalisation.
        batch_norm_momentum: decay of the moving averages, in [0, 1).

    Raises:
        ValueError: if an argument is out of range.

    Cost: C c sum(s^2) (50 C c for the default scales) + N (C + n c) C multiply-adds per image of N positions. Pooling
    and interpolation are sparse, but computed as dense products: N C sum(s) + W C sum(s^2) and N c sum(s) + H c
    sum(s^2) more, for H rows and W columns.

    Reference: Zhao et al., Pyramid Scene Parsing Network (CVPR 2017). There, a 3x3 convolution with
    batch normalisation and relu follows the concatenation, and its output replaces the input. Here a 1x1 convolution
    leads back to C channels, so that the module has the shape of its input and starts as the identity.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.layers import PyramidPooling
        >>> PyramidPooling()(tf.random.normal((2, 8, 8, 16))).shape
        TensorShape([2, 8, 8, 16])
    """

    def __init__(
        self,
        *,
        scales: Sequence[int] = (1, 2, 3, 6),
        branch_channels: int | None = None,
        activation: str | None = "relu",
        use_bias: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not scales or min(scales) < 1:
            raise ValueError(f"scales must be positive, at least one, received {scales}")
        if branch_channels is not None and branch_channels < 1:
            raise ValueError(f"branch_channels must be positive or None, received {branch_channels}")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {ACTIVATIONS}, received {activation!r}")
        self.scales = tuple(scales)
        self.branch_channels = branch_channels
        self.activation = activation
        self.use_bias = use_bias

    def build_context(self, channels: int) -> None:
        """Creates the convolutions."""
        width = self.branch_channels or max(channels // BRANCH_DIVISOR, 1)
        for index, _ in enumerate(self.scales, start=1):
            setattr(self, f"branch_{index}", self.conv(f"branch_{index}", channels, width, use_bias=self.use_bias))
        self.project = self.conv("project", channels + len(self.scales) * width, channels, use_bias=False)

    def pyramid(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Returns the concatenation of the inputs and all branches, before ``project``.

        Args:
            inputs: tensor of shape ``(batch, height, width, channels)``.
            training: whether to update the singular vectors.

        Returns:
            Tensor of shape ``(batch, height, width, channels + len(scales) * branch_channels)``.
        """
        dtype = accumulation_dtype(inputs.dtype)
        shape = tf.shape(inputs)
        height, width = shape[1], shape[2]
        wide = tf.cast(inputs, dtype)
        features = [inputs]
        for index, scale in enumerate(self.scales, start=1):
            pooled = resample(wide, _pooling_matrix(height, scale, dtype), _pooling_matrix(width, scale, dtype))
            outputs = getattr(self, f"branch_{index}")(tf.cast(pooled, inputs.dtype), training=training)
            outputs = tf.cast(relu(outputs) if self.activation == "relu" else outputs, dtype)
            rows, columns = (interpolation_matrix(size, scale, dtype, align_corners=False) for size in (height, width))
            features.append(tf.cast(resample(outputs, rows, columns), inputs.dtype))
        return tf.concat(features, axis=-1)

    def context(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Returns the branch, with the shape of the inputs.

        Args:
            inputs: tensor of shape ``(batch, height, width, channels)``.
            training: whether to update the singular vectors.
        """
        return self.project(self.pyramid(inputs, training=training), training=training)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "scales": self.scales,
            "branch_channels": self.branch_channels,
            "activation": self.activation,
            "use_bias": self.use_bias,
        }


def _pooling_matrix(size: tf.Tensor, cells: int, dtype: tf.DType) -> tf.Tensor:
    """Weights of ``size`` positions in the average of each cell, shape ``(cells, size)``."""
    cell, position = tf.range(cells)[:, tf.newaxis], tf.range(size)[tf.newaxis]
    start, end = cell * size // cells, -(-(cell + 1) * size // cells)
    inside = tf.cast((position >= start) & (position < end), dtype)
    return inside / tf.cast(end - start, dtype)
