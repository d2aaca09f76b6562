"""MSCAN, the multi-scale convolutional attention network that is the backbone of SegNeXt."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from hamgan.layers.batch_normalization import BatchNormalization
from hamgan.segmentation.networks.chain import build_chain
from hamgan.segmentation.networks.convolution import Convolution
from hamgan.segmentation.networks.dropout import Noise
from hamgan.segmentation.networks.mscan_block import MSCANBlock, gelu
from hamgan.segmentation.networks.normalization import MSCAN_NORM_MOMENTUM, NORM_EPSILON, batch_norm

Shape = tuple[int | None, ...]


class MSCANVariant(NamedTuple):
    """Architecture of an MSCAN.

    Args:
        widths: number of channels of each stage.
        depths: number of blocks of each stage.
        drop_rate: probability of dropping a branch of the last block in training.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    drop_rate: float


MSCANS: dict[str, MSCANVariant] = {
    "tiny": MSCANVariant((32, 64, 160, 256), (3, 3, 5, 2), 0.1),
    "small": MSCANVariant((64, 128, 320, 512), (2, 2, 4, 2), 0.1),
    "base": MSCANVariant((64, 128, 320, 512), (3, 3, 12, 3), 0.1),
    "large": MSCANVariant((64, 128, 320, 512), (3, 5, 27, 3), 0.3),
}
"""The published variants: T, S, B and L."""


@keras.saving.register_keras_serializable(package="hamgan")
class MSCAN(keras.Model):
    """Multi-scale convolutional attention network.

    The stem has two 3x3 convolutions with stride 2, and a 3x3 convolution with stride 2 precedes each further stage.
    A layer normalisation over channels follows each stage. Images may have any size. The constructor creates all
    weights.

    Args:
        variant: "tiny", "small", "base" or "large"; determines ``widths``, ``depths`` and ``drop_rate``.
        widths: number of channels of each of the four stages; None means those of the variant.
        depths: number of blocks of each stage; None means those of the variant.
        mlp_ratios: factor of the number of channels inside the multi-layer perceptrons of each stage.
        drop_rate: probability of dropping a branch of the last block in training, for each image; it rises linearly
            from 0 in the first block. None means that of the variant.
        batch_norm_momentum: decay of the moving averages, in [0, 1).
        channels: number of channels of the images.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Guo et al., SegNeXt: Rethinking Convolutional Attention Design for Semantic Segmentation (NeurIPS 2022).
    The moving variance is the unbiased one.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.segmentation import MSCAN
        >>> backbone = MSCAN(widths=(4, 8, 12, 16), depths=(1, 1, 1, 1))
        >>> [tuple(stage.shape) for stage in backbone(tf.zeros((2, 64, 96, 3)))]
        [(2, 16, 24, 4), (2, 8, 12, 8), (2, 4, 6, 12), (2, 2, 3, 16)]
    """

    def __init__(
        self,
        variant: str = "tiny",
        *,
        widths: Sequence[int] | None = None,
        depths: Sequence[int] | None = None,
        mlp_ratios: Sequence[int] = (8, 8, 4, 4),
        drop_rate: float | None = None,
        batch_norm_momentum: float = MSCAN_NORM_MOMENTUM,
        channels: int = 3,
        name: str = "mscan",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        if variant not in MSCANS:
            raise ValueError(f"variant must be one of {tuple(MSCANS)}, received {variant!r}")
        for argument, value in (("widths", widths), ("depths", depths), ("mlp_ratios", mlp_ratios)):
            if value is not None and (len(value) != 4 or min(value) < 1):
                raise ValueError(f"{argument} must be four positive numbers, received {value}")
        if drop_rate is not None and not 0 <= drop_rate < 1:
            raise ValueError(f"drop_rate must be in [0, 1), received {drop_rate}")
        self.variant = variant
        self.widths = None if widths is None else tuple(widths)
        self.depths = None if depths is None else tuple(depths)
        self.mlp_ratios = tuple(mlp_ratios)
        self.drop_rate = drop_rate
        self.batch_norm_momentum = batch_norm_momentum
        self.channels = channels
        self._create_layers()
        self.build((None, None, None, channels))

    def _create_layers(self) -> None:
        policy = self.dtype_policy
        published = MSCANS[self.variant]
        widths, depths = self.widths or published.widths, self.depths or published.depths
        last_rate = published.drop_rate if self.drop_rate is None else self.drop_rate
        rates = iter(np.linspace(0, last_rate, sum(depths)).tolist())

        def downsampling(name: str, filters: int) -> tuple[Convolution, BatchNormalization]:
            return (
                Convolution(filters, 3, stride=2, name=f"{name}_conv", dtype=policy),
                batch_norm(f"{name}_norm", self.batch_norm_momentum, policy),
            )

        # Tuples, because tf.train.Checkpoint ignores lists in Keras objects.
        self.stem = (downsampling("stem1", max(widths[0] // 2, 1)), downsampling("stem2", widths[0]))
        self.downsamplings = tuple(downsampling(f"down{stage}", width) for stage, width in enumerate(widths[1:], 2))
        self.stages: tuple[tuple[MSCANBlock, ...], ...] = tuple(
            tuple(
                MSCANBlock(
                    ratio,
                    drop_rate=next(rates),
                    batch_norm_momentum=self.batch_norm_momentum,
                    name=f"stage{stage}_block{block}",
                    dtype=policy,
                )
                for block in range(1, depth + 1)
            )
            for stage, (depth, ratio) in enumerate(zip(depths, self.mlp_ratios, strict=True), start=1)
        )
        self.norms: tuple[keras.layers.LayerNormalization, ...] = tuple(
            keras.layers.LayerNormalization(epsilon=NORM_EPSILON, name=f"stage{stage}_norm", dtype=policy)
            for stage in range(1, len(depths) + 1)
        )

    def build(self, input_shape: Shape) -> None:
        """Creates the weights of all sublayers."""
        shape = build_chain([layer for pair in self.stem for layer in pair], input_shape)
        for downsampling, blocks, norm in zip(((), *self.downsamplings), self.stages, self.norms, strict=True):
            shape = build_chain([*downsampling, *blocks, norm], shape)
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool | None = None, noise: Noise | None = None) -> list[tf.Tensor]:
        """Computes the features of images.

        Args:
            inputs: images of shape ``(batch, height, width, channels)``.
            training: whether to drop branches, use batch statistics and update the moving averages.
            noise: random stream of the batch, which determines the dropped branches; by default, that of the layers.

        Returns:
            Outputs of the four stages, with strides 4, 8, 16 and 32.
        """
        (conv1, norm1), (conv2, norm2) = self.stem
        hidden = gelu(norm1(conv1(tf.cast(inputs, self.compute_dtype)), training=training))
        hidden = norm2(conv2(hidden), training=training)
        features = []
        for downsampling, blocks, norm in zip((None, *self.downsamplings), self.stages, self.norms, strict=True):
            if downsampling is not None:
                conv, conv_norm = downsampling
                hidden = conv_norm(conv(hidden), training=training)
            for block in blocks:
                hidden = block(hidden, training=training, noise=noise)
            hidden = norm(hidden)
            features.append(hidden)
        return features

    def compute_output_shape(self, input_shape: Shape) -> list[Shape]:
        """Returns the shapes of the four stages."""
        shape, shapes = self.stem[0][0].compute_output_shape(input_shape), []
        for conv, _norm in (self.stem[1], *self.downsamplings):
            shape = conv.compute_output_shape(shape)
            shapes.append(shape)
        return shapes

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "variant": self.variant,
            "widths": self.widths,
            "depths": self.depths,
            "mlp_ratios": self.mlp_ratios,
            "drop_rate": self.drop_rate,
            "batch_norm_momentum": self.batch_norm_momentum,
            "channels": self.channels,
        }
