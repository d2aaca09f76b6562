"""Channel attention of DANet."""

import keras
import tensorflow as tf

from hamgan.layers.context.residual import ResidualContext, to_images, to_positions
from hamgan.layers.precision import accumulation_dtype


@keras.saving.register_keras_serializable(package="hamgan")
class ChannelAttention(ResidualContext):
    """Mixes channels by the similarity of their maps: ``x + sigma * x softmax(-x^T x)^T``.

    x has shape ``(positions, channels)`` here, for one image. The softmax is over the second index of the C x C
    similarities, so each channel becomes a weighted mean of all channels. There are no projections: sigma, and the
    batch normalisation if there is one, are the only weights.

    Inputs and outputs have shape ``(batch, height, width, channels)``; height and width may be unknown.

    Args:
        spectral_norm: accepted as in all modules; there are no kernels.
        batch_norm: batch normalisation of the branch: None, "plain" or "conditional" (calls then require labels).
        num_classes: number of classes; only with conditional batch normalisation.
        batch_norm_momentum: decay of the moving averages, in [0, 1).

    Raises:
        ValueError: if an argument is out of range.

    Cost: 2 N C^2 multiply-adds per image of N positions.

    Reference: Fu et al., Dual Attention Network for Scene Segmentation (CVPR 2019). The paper has the opposite
    sign, softmax(x^T x). The published code has the sign used here, which its authors chose against diverging
    losses: a channel attends most to the channels that are least like it.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.layers import ChannelAttention
        >>> ChannelAttention()(tf.random.normal((2, 8, 8, 16))).shape
        TensorShape([2, 8, 8, 16])
    """

    def build_context(self, channels: int) -> None:
        """Creates nothing: the branch has no weights."""

    def context(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Returns the mixed channels, the branch, with the shape of the inputs.

        Args:
            inputs: tensor of shape ``(batch, height, width, channels)``.
            training: no effect.
        """
        positions = to_positions(inputs)
        wide = tf.cast(positions, accumulation_dtype(inputs.dtype))
        similarities = tf.matmul(wide, wide, transpose_a=True)
        attention = tf.cast(tf.nn.softmax(-similarities), inputs.dtype)
        return to_images(tf.matmul(positions, attention, transpose_b=True), inputs)
