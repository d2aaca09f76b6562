"""The Hamburger blocks of segmentation networks."""

from typing import Any

import keras
import tensorflow as tf

from hamgan.layers.activation import relu
from hamgan.layers.batch_normalization import BatchNormalization
from hamgan.layers.input_shapes import image_channels
from hamgan.layers.plain_convolution import PlainConvolution
from hamgan.layers.segmentation_branch import SegmentationBranch

EPSILON = 1e-5


@keras.saving.register_keras_serializable(package="hamgan")
class SegmentationHamburger(SegmentationBranch):
    """A Hamburger block as in HamNet: ``relu(x + y)``, or ``relu(a * y + b * x)`` in "v2plus".

    :class:`hamgan.layers.segmentation_branch.SegmentationBranch` describes the branch y and its versions. a and b are
    trainable scalars; b is initially 1. Inputs and outputs have shape ``(batch, height, width, channels)``; height and
    width may be unknown. The convolutions have no spectral normalisation. Batch normalisation has an epsilon of 1e-5,
    and its moving average is that of unbiased variances.

    Args:
        latent_dim: number of channels D of each section. In the published settings of "v1" and "v2", D is the total
            width S * D.
        rank: number of bases R.
        zero_ham: whether a is initially 0, so that the block starts as relu(x), rather than 1; "v2plus" only.
        batch_norm_momentum: decay of the moving averages, in [0, 1).
        kwargs: arguments of :class:`hamgan.layers.segmentation_branch.SegmentationBranch`: ``num_steps``,
            ``evaluation_steps``, ``num_sections``, ``ham``, ``version``, ``form``, ``cheese_factor``, ``bases``,
            ``evaluation_bases``, ``bases_momentum``, ``gradient``, ``inverse_temperature``, ``ridge`` and ``seed``.

    Raises:
        ValueError: if an argument is out of range, or does not apply to the chosen ham, version or form.

    Reference: Geng et al., Is Attention Better Than Matrix Decomposition? (ICLR 2021). Unlike the published code, the
    channel form accepts several sections, evaluation has fixed bases by default, and running bases move in training.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.layers import SegmentationHamburger
        >>> block = SegmentationHamburger(latent_dim=8, rank=4, seed=0)
        >>> block(tf.random.normal((2, 9, 13, 16))).shape
        TensorShape([2, 9, 13, 16])
    """

    def __init__(
        self,
        latent_dim: int,
        rank: int,
        *,
        zero_ham: bool = True,
        batch_norm_momentum: float = 0.9997,
        **kwargs: Any,
    ) -> None:
        super().__init__(latent_dim, rank, **kwargs)
        self.zero_ham = zero_ham
        self.batch_norm_momentum = batch_norm_momentum

    def conv(self, name: str, inputs: int, outputs: int, *, use_bias: bool) -> keras.Layer:
        """Creates and builds a 1x1 convolution with the published initial values; see :class:`SegmentationBranch`."""
        bound = inputs**-0.5
        layer = PlainConvolution(
            outputs,
            1,
            use_bias=use_bias,
            kernel_initializer=keras.initializers.RandomNormal(stddev=(2 / outputs) ** 0.5),
            bias_initializer=keras.initializers.RandomUniform(-bound, bound),
            name=name,
            dtype=self.dtype_policy,
        )
        layer.build((None, None, None, inputs))
        return layer

    def build_normalization(self, channels: int) -> None:
        """Creates and builds the batch normalisation of images with this number of channels."""
        self.normalization = BatchNormalization(
            momentum=self.batch_norm_momentum,
            epsilon=EPSILON,
            unbiased_variance=True,
            name="batch_norm",
            dtype=self.dtype_policy,
        )
        self.normalization.build((None, None, None, channels))

    def normalize(self, inputs: tf.Tensor, **arguments: Any) -> tf.Tensor:
        """Normalises images."""
        return self.normalization(inputs, **arguments)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the weights of the branch and, in "v2plus", the two scalars."""
        self.build_branch(image_channels(self, input_shape))
        if self.version == "v2plus":
            self.ham_scale = self.add_weight(
                name="ham_scale", shape=(), initializer="zeros" if self.zero_ham else "ones"
            )
            self.shortcut_scale = self.add_weight(name="shortcut_scale", shape=(), initializer="ones")

    def call(self, inputs: tf.Tensor, training: bool | None = None, initial_bases: Any = None) -> tf.Tensor:
        """Computes the block.

        Args:
            inputs: tensor of shape ``(batch, height, width, channels)``.
            training: whether to use batch statistics, and to update moving averages and running bases.
            initial_bases: initial bases, see :meth:`SegmentationBranch.branch`.

        Returns:
            Tensor with the shape of the inputs.

        Raises:
            ValueError: if the bases have the wrong shape.
        """
        inputs = tf.cast(inputs, self.compute_dtype)
        branch = self.branch(inputs, training=training, initial_bases=initial_bases)
        if self.version == "v2plus":
            branch *= tf.cast(self.ham_scale, branch.dtype)
            inputs *= tf.cast(self.shortcut_scale, inputs.dtype)
        return relu(inputs + branch)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "zero_ham": self.zero_ham,
            "batch_norm_momentum": self.batch_norm_momentum,
        }
