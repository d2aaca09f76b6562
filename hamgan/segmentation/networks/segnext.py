"""SegNeXt: MSCAN with LightHamHead."""

from collections.abc import Sequence
from typing import Any

import keras

from hamgan.segmentation.networks.ham_heads import LightHamHead
from hamgan.segmentation.networks.mscan import MSCAN, MSCANS
from hamgan.segmentation.networks.network import SegmentationNetwork
from hamgan.segmentation.networks.normalization import MSCAN_NORM_MOMENTUM, NUM_GROUPS

HEAD_CHANNELS = {"tiny": 256, "small": 256, "base": 512, "large": 1024}
"""Number of channels of each variant's head."""
RANKS = {"tiny": 16, "small": 16, "base": 64, "large": 64}
"""Number of bases R in SegNeXt's own configs."""


@keras.saving.register_keras_serializable(package="hamgan")
class SegNeXt(SegmentationNetwork):
    """SegNeXt: logits at the size of the images, from stages 2 to 4 of an MSCAN and a LightHamHead.

    Images may have any size. The constructor creates all weights.

    Args:
        variant: "tiny", "small", "base" or "large"; determines the arguments whose default is None.
        num_classes: number of classes.
        rank: number of bases R; None means 16 for "tiny" and "small", and 64 for "base" and "large". A checkpoint does
            not show it. mmsegmentation's configs of "base" and "large" say 16; which one its checkpoints were trained
            with is unknown.
        head_channels: number of channels of the head; None means 256, 256, 512 or 1024.
        ham_channels: number of channels of the head's Hamburger; None means ``head_channels``.
        widths: number of channels of each stage of the backbone.
        depths: number of blocks of each stage of the backbone.
        drop_rate: probability of dropping a branch of the backbone's last block in training.
        batch_norm_momentum: decay of the moving averages, in [0, 1).
        num_steps: number of iterations K of the NMF.
        evaluation_steps: number of iterations K outside training; None means ``num_steps``.
        groups: number of groups of the group normalisation in the head.
        dropout_rate: probability of dropping a channel before the classifier in training.
        bases: source of initial bases in training, see :class:`hamgan.layers.NMF`.
        evaluation_bases: source of initial bases outside training. With "fixed", results are deterministic; the
            published code draws them at each call ("random").
        gradient: part of the NMF that is differentiated, "unrolled" (all iterations, as published) or "one_step".
        seed: integer seed of the bases; None draws a seed.
        channels: number of channels of the images.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Guo et al., SegNeXt: Rethinking Convolutional Attention Design for Semantic Segmentation (NeurIPS 2022).

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.segmentation import SegNeXt
        >>> network = SegNeXt("tiny", num_classes=6, widths=(4, 8, 12, 16), depths=(1, 1, 1, 1), head_channels=32)
        >>> network(tf.zeros((2, 72, 96, 3))).shape
        TensorShape([2, 72, 96, 6])
    """

    def __init__(
        self,
        variant: str = "tiny",
        *,
        num_classes: int,
        rank: int | None = None,
        head_channels: int | None = None,
        ham_channels: int | None = None,
        widths: Sequence[int] | None = None,
        depths: Sequence[int] | None = None,
        drop_rate: float | None = None,
        batch_norm_momentum: float = MSCAN_NORM_MOMENTUM,
        num_steps: int = 6,
        evaluation_steps: int | None = 7,
        groups: int = NUM_GROUPS,
        dropout_rate: float = 0.1,
        bases: str = "random",
        evaluation_bases: str = "fixed",
        gradient: str = "unrolled",
        seed: int | None = None,
        channels: int = 3,
        name: str = "segnext",
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        if variant not in MSCANS:
            raise ValueError(f"variant must be one of {tuple(MSCANS)}, received {variant!r}")
        backbone = MSCAN(
            variant,
            widths=widths,
            depths=depths,
            drop_rate=drop_rate,
            batch_norm_momentum=batch_norm_momentum,
            channels=channels,
            dtype=dtype,
        )
        head = LightHamHead(
            num_classes,
            rank=RANKS[variant] if rank is None else rank,
            channels=HEAD_CHANNELS[variant] if head_channels is None else head_channels,
            ham_channels=ham_channels,
            num_steps=num_steps,
            evaluation_steps=evaluation_steps,
            groups=groups,
            dropout_rate=dropout_rate,
            bases=bases,
            evaluation_bases=evaluation_bases,
            gradient=gradient,
            seed=seed,
            name="head",
            dtype=dtype,
        )
        super().__init__(
            backbone,
            head,
            stages=(2, 3, 4),
            align_corners=False,
            channels=channels,
            name=name,
            dtype=dtype,
            **kwargs,
        )
        self.variant = variant
        self.head_channels = head_channels
        self.rank = rank

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        head, backbone = self.head.get_config(), self.backbone.get_config()
        from_head = (
            *("num_classes", "ham_channels", "num_steps", "evaluation_steps", "groups", "dropout_rate"),
            *("bases", "evaluation_bases", "gradient", "seed"),
        )
        from_backbone = ("widths", "depths", "drop_rate", "batch_norm_momentum", "channels")
        return {
            **keras.Model.get_config(self),
            "variant": self.variant,
            "rank": self.rank,
            "head_channels": self.head_channels,
            **{name: head[name] for name in from_head},
            **{name: backbone[name] for name in from_backbone},
        }
