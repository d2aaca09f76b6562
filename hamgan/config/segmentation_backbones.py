"""Configs of the backbones of segmentation networks."""

import dataclasses

from hamgan.architecture import MSCANS, OUTPUT_STRIDES, RESNETS
from hamgan.config.fields import require, require_fractions, require_one_of, require_positive
from hamgan.config.variants import Variants, register_variants


@dataclasses.dataclass(frozen=True)
class BackboneConfig:
    """The backbone; subclasses add the settings of their network.

    Example:
        >>> from hamgan.config import BackboneConfig, ResNetConfig
        >>> issubclass(ResNetConfig, BackboneConfig)
        True
    """

    kind: str = ""
    """Kind of backbone: "resnet" or "mscan"."""
    depths: tuple[int, ...] | None = None
    """Number of blocks in each of the four stages; None means those of the variant."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        require(
            self.depths is None or (len(self.depths) == 4 and min(self.depths) > 0),
            f"depths must be four positive numbers, such as 3,4,6,3, found {self.depths}",
        )


@dataclasses.dataclass(frozen=True)
class ResNetConfig(BackboneConfig):
    """A dilated ResNet; see :class:`hamgan.segmentation.ResNet`.

    Example:
        >>> from hamgan.config import ResNetConfig
        >>> ResNetConfig(variant="resnet50").output_stride
        8
    """

    kind: str = "resnet"
    variant: str = "resnet101"
    """Published network: "resnet50", "resnet101" or "resnet152"."""
    output_stride: int = 8
    """Stride of the last stage."""
    base_channels: int = 64
    """Width of the first stage's bottlenecks."""
    batch_norm_momentum: float = 0.9997
    """Decay of the moving averages of batch normalisation; the published one suits tens of thousands of steps."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require_one_of(self, "variant", RESNETS)
        require(self.output_stride in OUTPUT_STRIDES, f"output_stride must be 8 or 16, found {self.output_stride}")
        require_positive(self, "base_channels")
        require_fractions(self, "batch_norm_momentum")


@dataclasses.dataclass(frozen=True)
class MSCANConfig(BackboneConfig):
    """MSCAN, the backbone of SegNeXt; see :class:`hamgan.segmentation.MSCAN`.

    Example:
        >>> from hamgan.config import MSCANConfig
        >>> MSCANConfig(variant="base").kind
        'mscan'
    """

    kind: str = "mscan"
    variant: str = "tiny"
    """Published network: "tiny", "small", "base" or "large"."""
    widths: tuple[int, ...] | None = None
    """Number of channels of each of the four stages; None means those of the variant."""
    drop_rate: float | None = None
    """Probability of dropping a branch of the last block in training; None means that of the variant."""
    batch_norm_momentum: float = 0.9
    """Decay of the moving averages of batch normalisation."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require_one_of(self, "variant", MSCANS)
        require(
            self.widths is None or (len(self.widths) == 4 and min(self.widths) > 0),
            f"widths must be four positive numbers, found {self.widths}",
        )
        require_fractions(self, "batch_norm_momentum", *(() if self.drop_rate is None else ("drop_rate",)))


register_variants(BackboneConfig, Variants("kind", "kind of backbone", {"resnet": ResNetConfig, "mscan": MSCANConfig}))
