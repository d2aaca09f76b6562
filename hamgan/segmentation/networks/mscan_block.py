"""The block of MSCAN: multi-scale convolutional attention and a multi-layer perceptron."""

from typing import Any

import keras
import tensorflow as tf

from hamgan.layers.input_shapes import image_channels
from hamgan.segmentation.networks.chain import build_chain
from hamgan.segmentation.networks.convolution import Convolution, DepthwiseConvolution
from hamgan.segmentation.networks.dropout import Noise, StochasticDepth
from hamgan.segmentation.networks.normalization import MSCAN_NORM_MOMENTUM, batch_norm

Shape = tuple[int | None, ...]

STRIP_LENGTHS = (7, 11, 21)
"""Lengths of the strip convolutions."""
_INITIAL_SCALE = 0.01


def gelu(inputs: tf.Tensor) -> tf.Tensor:
    """Computes the exact GELU, x Phi(x)."""
    return tf.nn.gelu(inputs, approximate=False)


@keras.saving.register_keras_serializable(package="hamgan")
class StripAttention(keras.Layer):
    """Multi-scale convolutional attention: ``x + project_out(gate(gelu(project_in(x))))``.

    ``gate(v) = v * mix(a + a_7 + a_11 + a_21)``, where a is a depthwise 5x5 convolution of v, and a_k a depthwise 1 x k
    and then k x 1 convolution of a. The projections and mix are 1x1 convolutions. All have biases. Inputs and outputs
    have shape ``(batch, height, width, channels)``.

    Reference: Guo et al., SegNeXt (NeurIPS 2022).
    """

    def build(self, input_shape: Shape) -> None:
        """Creates the convolutions."""
        channels = image_channels(self, input_shape)
        policy = {"dtype": self.dtype_policy}
        self.project_in = Convolution(channels, 1, name="project_in", **policy)
        self.local = DepthwiseConvolution(5, name="local", **policy)
        # Tuples, because tf.train.Checkpoint ignores lists in Keras objects.
        self.strips = tuple(
            (
                DepthwiseConvolution((1, length), name=f"row{length}", **policy),
                DepthwiseConvolution((length, 1), name=f"column{length}", **policy),
            )
            for length in STRIP_LENGTHS
        )
        self.mix = Convolution(channels, 1, name="mix", **policy)
        self.project_out = Convolution(channels, 1, name="project_out", **policy)
        strips = [conv for pair in self.strips for conv in pair]
        for layer in (self.project_in, self.local, *strips, self.mix, self.project_out):
            layer.build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Applies the attention to images of shape ``(batch, height, width, channels)``."""
        values = gelu(self.project_in(inputs))
        local = self.local(values)
        attention = local
        for row, column in self.strips:
            attention += column(row(local))
        return inputs + self.project_out(values * self.mix(attention))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the input's shape."""
        return input_shape


@keras.saving.register_keras_serializable(package="hamgan")
class ConvolutionalMLP(keras.Layer):
    """1x1 convolution to ``ratio`` times the channels, depthwise 3x3 convolution, GELU and 1x1 convolution back.

    Args:
        ratio: factor of the number of channels inside.

    Reference: Guo et al., SegNeXt (NeurIPS 2022).
    """

    def __init__(self, ratio: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ratio = ratio

    def build(self, input_shape: Shape) -> None:
        """Creates the convolutions."""
        channels = image_channels(self, input_shape)
        policy = {"dtype": self.dtype_policy}
        self.expand = Convolution(self.ratio * channels, 1, name="expand", **policy)
        self.depthwise = DepthwiseConvolution(3, name="depthwise", **policy)
        self.reduce = Convolution(channels, 1, name="reduce", **policy)
        build_chain([self.expand, self.depthwise, self.reduce], input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Applies the layer to images of shape ``(batch, height, width, channels)``."""
        return self.reduce(gelu(self.depthwise(self.expand(inputs))))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "ratio": self.ratio}


@keras.saving.register_keras_serializable(package="hamgan")
class MSCANBlock(keras.Layer):
    """``x + scale1 * attention(norm1(x))``, followed by ``x + scale2 * mlp(norm2(x))``.

    scale1 and scale2 are trainable vectors, initially 0.01. Inputs and outputs have shape
    ``(batch, height, width, channels)``.

    Args:
        mlp_ratio: factor of the number of channels inside the multi-layer perceptron.
        drop_rate: probability of dropping a branch in training, for each image.
        batch_norm_momentum: decay of the moving averages, in [0, 1).

    Reference: Guo et al., SegNeXt (NeurIPS 2022).
    """

    def __init__(
        self,
        mlp_ratio: int = 4,
        *,
        drop_rate: float = 0.0,
        batch_norm_momentum: float = MSCAN_NORM_MOMENTUM,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.mlp_ratio = mlp_ratio
        self.drop_rate = drop_rate
        self.batch_norm_momentum = batch_norm_momentum
        policy = self.dtype_policy
        self.norm1 = batch_norm("norm1", batch_norm_momentum, policy)
        self.attention = StripAttention(name="attention", dtype=policy)
        self.drop1 = StochasticDepth(drop_rate, name="drop1", dtype=policy)
        self.norm2 = batch_norm("norm2", batch_norm_momentum, policy)
        self.mlp = ConvolutionalMLP(mlp_ratio, name="mlp", dtype=policy)
        self.drop2 = StochasticDepth(drop_rate, name="drop2", dtype=policy)

    def build(self, input_shape: Shape) -> None:
        """Creates the scales and the weights of all sublayers."""
        channels = image_channels(self, input_shape)
        for layer in (self.norm1, self.attention, self.drop1, self.norm2, self.mlp, self.drop2):
            layer.build(input_shape)
        self.scale1, self.scale2 = (
            self.add_weight(name=name, shape=(channels,), initializer=keras.initializers.Constant(_INITIAL_SCALE))
            for name in ("scale1", "scale2")
        )

    def call(self, inputs: tf.Tensor, training: bool | None = None, noise: Noise | None = None) -> tf.Tensor:
        """Applies the block.

        Args:
            inputs: tensor of shape ``(batch, height, width, channels)``.
            training: whether to drop branches, use batch statistics and update the moving averages.
            noise: random stream of the batch; by default, that of the layers.

        Returns:
            Tensor with the shape of the inputs.
        """
        hidden = inputs
        for norm, branch, scale, drop in (
            (self.norm1, self.attention, self.scale1, self.drop1),
            (self.norm2, self.mlp, self.scale2, self.drop2),
        ):
            outputs = tf.convert_to_tensor(scale) * branch(norm(hidden, training=training))
            hidden += drop(outputs, training=training, noise=noise)
        return hidden

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "mlp_ratio": self.mlp_ratio,
            "drop_rate": self.drop_rate,
            "batch_norm_momentum": self.batch_norm_momentum,
        }
