"""Dilated ResNet with a deep stem, the backbone of HamNet."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from hamgan.layers.activation import relu
from hamgan.layers.batch_normalization import BatchNormalization
from hamgan.layers.input_shapes import image_channels
from hamgan.segmentation.networks.chain import build_chain
from hamgan.segmentation.networks.convolution import Convolution
from hamgan.segmentation.networks.normalization import HAMNET_NORM_MOMENTUM, batch_norm

Shape = tuple[int | None, ...]

RESNETS: dict[str, tuple[int, ...]] = {
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
    "resnet152": (3, 8, 36, 3),
}
"""Number of bottlenecks in each stage."""
_DILATIONS = {8: (1, 1, 2, 4), 16: (1, 1, 1, 2)}
"""Dilation of each stage for an output stride."""
_STRIDES = {8: (1, 2, 1, 1), 16: (1, 2, 2, 1)}
"""Stride of each stage for an output stride."""
_EXPANSION = 4


@keras.saving.register_keras_serializable(package="hamgan")
class Bottleneck(keras.Layer):
    """Residual block ``relu(shortcut(x) + norm3(conv3(h)))``, h from a 1x1 and a 3x3 convolution.

    Each convolution has batch normalisation, the first two also relu. The stride is in the 3x3 convolution.

    Args:
        width: number of channels inside; the output has four times as many.
        stride: step of the 3x3 convolution and the shortcut.
        dilation: dilation of the 3x3 convolution.
        has_projection: whether the shortcut is a 1x1 convolution with batch normalisation, instead of the identity.
        batch_norm_momentum: decay of the moving averages, in [0, 1).

    Reference: He et al., Deep Residual Learning for Image Recognition (CVPR 2016), which has the stride in
    the first convolution.
    """

    def __init__(
        self,
        width: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        has_projection: bool = False,
        batch_norm_momentum: float = HAMNET_NORM_MOMENTUM,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.stride = stride
        self.dilation = dilation
        self.has_projection = has_projection
        self.batch_norm_momentum = batch_norm_momentum
        outputs = _EXPANSION * width
        self.conv1 = self._conv("conv1", width, 1)
        self.norm1 = self._norm("norm1")
        self.conv2 = self._conv("conv2", width, 3, stride=stride, dilation=dilation)
        self.norm2 = self._norm("norm2")
        self.conv3 = self._conv("conv3", outputs, 1)
        self.norm3 = self._norm("norm3")
        self.projection = self._conv("projection", outputs, 1, stride=stride) if has_projection else None
        self.projection_norm = self._norm("projection_norm") if has_projection else None

    def _conv(self, name: str, filters: int, size: int, **arguments: Any) -> Convolution:
        return Convolution(filters, size, use_bias=False, name=name, dtype=self.dtype_policy, **arguments)

    def _norm(self, name: str) -> BatchNormalization:
        return batch_norm(name, self.batch_norm_momentum, self.dtype_policy)

    def build(self, input_shape: Shape) -> None:
        """Creates the weights of all sublayers."""
        channels = image_channels(self, input_shape)
        if not self.has_projection and (channels != _EXPANSION * self.width or self.stride > 1):
            raise ValueError(
                f"{self.name} has stride {self.stride} and turns {channels} channels into {_EXPANSION * self.width}: "
                "has_projection must be True"
            )
        layers = [(self.conv1, self.norm1), (self.conv2, self.norm2), (self.conv3, self.norm3)]
        build_chain([layer for pair in layers for layer in pair], input_shape)
        if self.projection is not None:
            build_chain([self.projection, self.projection_norm], input_shape)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Applies the block.

        Args:
            inputs: tensor of shape ``(batch, height, width, channels)``.
            training: whether to use batch statistics and to update the moving averages.

        Returns:
            Tensor of shape ``(batch, ceil(height / stride), ceil(width / stride), 4 * width)``.
        """
        hidden = relu(self.norm1(self.conv1(inputs), training=training))
        hidden = relu(self.norm2(self.conv2(hidden), training=training))
        hidden = self.norm3(self.conv3(hidden), training=training)
        shortcut = inputs
        if self.projection is not None and self.projection_norm is not None:
            shortcut = self.projection_norm(self.projection(inputs), training=training)
        return relu(hidden + shortcut)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns ``(batch, ceil(height / stride), ceil(width / stride), 4 * width)``."""
        return self.conv3.compute_output_shape(self.conv2.compute_output_shape(input_shape))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "width": self.width,
            "stride": self.stride,
            "dilation": self.dilation,
            "has_projection": self.has_projection,
            "batch_norm_momentum": self.batch_norm_momentum,
        }


@keras.saving.register_keras_serializable(package="hamgan")
class ResNet(keras.Model):
    """ResNet with a deep stem and dilated last stages.

    The stem has three 3x3 convolutions, the first with stride 2, and a max pooling with stride 2. Stage i has
    bottlenecks of width ``base_channels * 2^(i - 1)``. Instead of a stride, the last two stages (output stride 8) or
    the last stage (16) are dilated by 2 and 4, or 2. The first bottleneck of a dilated stage has half the dilation. In
    the last stage, the dilation of bottleneck i > 1 is multiplied by factor i of ``multi_grid``.

    Convolutions and pooling pad symmetrically, so that sizes 8k + 1 (output stride 8) or 16k + 1 keep the corners of
    the image at the corners of all feature maps; any other size works, too. The constructor creates all weights.

    Args:
        variant: "resnet50", "resnet101" or "resnet152"; determines ``depths``.
        output_stride: stride of the last stage, 8 or 16.
        depths: number of bottlenecks in each of the four stages; None means those of the variant.
        base_channels: width of the first stage's bottlenecks.
        stem_channels: numbers of channels of the stem's three convolutions; None means
            ``(base_channels, base_channels, 2 * base_channels)``.
        multi_grid: factors of the dilation in the last stage; the last factor also applies to further bottlenecks, the
            first to none.
        batch_norm_momentum: decay of the moving averages, in [0, 1).
        channels: number of channels of the images.

    Raises:
        ValueError: if an argument is out of range.

    Reference: He et al., Deep Residual Learning for Image Recognition (CVPR 2016); Chen et al., Rethinking Atrous
    Convolution for Semantic Image Segmentation (2017); Geng et al., Is Attention Better Than Matrix
    Decomposition? (ICLR 2021). The moving variance is the unbiased one.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.segmentation import ResNet
        >>> backbone = ResNet(depths=(1, 1, 1, 1), base_channels=8, output_stride=8)
        >>> [tuple(stage.shape) for stage in backbone(tf.zeros((2, 65, 65, 3)))]
        [(2, 17, 17, 32), (2, 9, 9, 64), (2, 9, 9, 128), (2, 9, 9, 256)]
    """

    def __init__(
        self,
        variant: str = "resnet101",
        *,
        output_stride: int = 8,
        depths: Sequence[int] | None = None,
        base_channels: int = 64,
        stem_channels: Sequence[int] | None = None,
        multi_grid: Sequence[int] = (1, 2, 4),
        batch_norm_momentum: float = HAMNET_NORM_MOMENTUM,
        channels: int = 3,
        name: str = "resnet",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        if variant not in RESNETS:
            raise ValueError(f"variant must be one of {tuple(RESNETS)}, received {variant!r}")
        if output_stride not in _STRIDES:
            raise ValueError(f"output_stride must be one of {tuple(_STRIDES)}, received {output_stride}")
        if depths is not None and (len(depths) != 4 or min(depths) < 1):
            raise ValueError(f"depths must be four positive numbers, received {depths}")
        if base_channels < 1:
            raise ValueError(f"base_channels must be positive, received {base_channels}")
        if stem_channels is not None and (len(stem_channels) != 3 or min(stem_channels) < 1):
            raise ValueError(f"stem_channels must be three positive numbers, received {stem_channels}")
        if not multi_grid or min(multi_grid) < 1:
            raise ValueError(f"multi_grid must be positive numbers, at least one, received {multi_grid}")
        self.variant = variant
        self.output_stride = output_stride
        self.depths = None if depths is None else tuple(depths)
        self.base_channels = base_channels
        self.stem_channels = None if stem_channels is None else tuple(stem_channels)
        self.multi_grid = tuple(multi_grid)
        self.batch_norm_momentum = batch_norm_momentum
        self.channels = channels
        self._create_layers()
        self.build((None, None, None, channels))

    def _create_layers(self) -> None:
        policy = self.dtype_policy
        widths = self.stem_channels or (self.base_channels, self.base_channels, 2 * self.base_channels)
        # Tuples, because tf.train.Checkpoint ignores lists in Keras objects.
        self.stem: tuple[tuple[Convolution, BatchNormalization], ...] = tuple(
            (
                Convolution(
                    width,
                    3,
                    stride=2 if index == 1 else 1,
                    use_bias=False,
                    name=f"stem_conv{index}",
                    dtype=policy,
                ),
                batch_norm(f"stem_norm{index}", self.batch_norm_momentum, policy),
            )
            for index, width in enumerate(widths, start=1)
        )
        self.stages: tuple[tuple[Bottleneck, ...], ...] = tuple(
            tuple(
                Bottleneck(
                    self.base_channels * 2**stage,
                    stride=_STRIDES[self.output_stride][stage] if block == 0 else 1,
                    dilation=self._dilation(stage, block),
                    has_projection=block == 0,
                    batch_norm_momentum=self.batch_norm_momentum,
                    name=f"stage{stage + 1}_block{block + 1}",
                    dtype=policy,
                )
                for block in range(depth)
            )
            for stage, depth in enumerate(self.depths or RESNETS[self.variant])
        )

    def _dilation(self, stage: int, block: int) -> int:
        dilation = _DILATIONS[self.output_stride][stage]
        if block == 0:
            return max(dilation // 2, 1)
        return dilation * (self.multi_grid[min(block, len(self.multi_grid) - 1)] if stage == 3 else 1)

    def build(self, input_shape: Shape) -> None:
        """Creates the weights of all sublayers."""
        shape = build_chain([layer for pair in self.stem for layer in pair], input_shape)
        for blocks in self.stages:
            shape = build_chain(blocks, shape)
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> list[tf.Tensor]:
        """Computes the features of images.

        Args:
            inputs: images of shape ``(batch, height, width, channels)``.
            training: whether to use batch statistics and to update the moving averages.

        Returns:
            Outputs of the four stages, from fine to coarse. With output stride 8, they have strides 4, 8, 8 and 8; with
            16, they have strides 4, 8, 16 and 16. Stage i has ``4 * base_channels * 2^(i - 1)`` channels.
        """
        hidden = self.stem_features(inputs, training=training)
        features = []
        for blocks in self.stages:
            for block in blocks:
                hidden = block(hidden, training=training)
            features.append(hidden)
        return features

    def stem_features(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Computes the stem's output, after max pooling, at a quarter of the image's size.

        Args:
            inputs: images of shape ``(batch, height, width, channels)``.
            training: whether to use batch statistics and to update the moving averages.

        Returns:
            Features of shape ``(batch, height / 4, width / 4, stem_channels[-1])``, with sizes rounded up.
        """
        hidden = tf.cast(inputs, self.compute_dtype)
        for conv, norm in self.stem:
            hidden = relu(norm(conv(hidden), training=training))
        # After relu, zeros never change a maximum.
        return tf.nn.max_pool2d(tf.pad(hidden, ((0, 0), (1, 1), (1, 1), (0, 0))), 3, 2, "VALID")

    def compute_output_shape(self, input_shape: Shape) -> list[Shape]:
        """Returns the shapes of the four stages."""
        batch, *sizes, _channels = self.stem[0][0].compute_output_shape(input_shape)
        shape: Shape = (batch, *(size and -(-size // 2) for size in sizes), self.stem[-1][0].filters)
        shapes = []
        for blocks in self.stages:
            for block in blocks:
                shape = block.compute_output_shape(shape)
            shapes.append(shape)
        return shapes

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "variant": self.variant,
            "output_stride": self.output_stride,
            "depths": self.depths,
            "base_channels": self.base_channels,
            "stem_channels": self.stem_channels,
            "multi_grid": self.multi_grid,
            "batch_norm_momentum": self.batch_norm_momentum,
            "channels": self.channels,
        }
