"""Configs of the context modules of networks."""

import dataclasses
from typing import ClassVar

from hamgan.architecture import (
    BASES_SOURCES,
    EM_GRADIENTS,
    GLOBAL_CONTEXT_FUSIONS,
    GLOBAL_CONTEXT_POOLINGS,
    HAM_GRADIENTS,
    HAM_NAMES,
    HAM_SETTINGS,
    HAMBURGER_VERSIONS,
    NON_LOCAL_MODES,
    SEGMENTATION_VERSIONS,
)
from hamgan.config.fields import FromDataset, require, require_positive


@dataclasses.dataclass(frozen=True)
class ContextConfig:
    """A context module of a network; subclasses add the settings of their module.

    Example:
        >>> from hamgan.config import CONTEXT_CONFIGS, ContextConfig
        >>> issubclass(CONTEXT_CONFIGS["hamburger"], ContextConfig)
        True
    """

    module: str = ""
    """Name of the module."""
    resolution: FromDataset[int] = 32
    """Height and width of the feature maps that the module processes, the output of a block."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        name = next((name for name, kind in CONTEXT_CONFIGS.items() if type(self) is kind), None)
        require(self.module == name, f"module must be '{name}' in a {type(self).__name__}, found '{self.module}'")

    @property
    def differs_in_training(self) -> bool:
        """Whether training and evaluation differ beyond statistics of batch normalisation and singular vectors."""
        return False


@dataclasses.dataclass(frozen=True)
class HamConfig(ContextConfig):
    """A context module around a ham; the fields are arguments of the layer of the same name."""

    versions: ClassVar[tuple[str, ...]]
    ham: str = "nmf"
    """Matrix decomposition: "nmf", "cd" (concept decomposition) or "vq" (vector quantisation)."""
    version: str = "v1"
    """Order of the layers: "v1" or "v2"."""
    latent_dim: int = 256
    """Number of channels D of each section."""
    rank: int = 32
    """Number of bases R."""
    num_steps: int = 6
    """Number of iterations K."""
    num_sections: int = 1
    """Number of sections S, which are decomposed independently."""
    evaluation_steps: int | None = None
    """Number of iterations K outside training; None means ``num_steps``."""
    gradient: str = "one_step"
    """Part of the iterations that is differentiated: "one_step" (the last update) or "unrolled" (all)."""
    inverse_temperature: float | None = None
    """Factor of the scores inside the softmax; "cd" and "vq" only. None means 100."""
    ridge: float | None = None
    """Weight of the identity in the ridge regression; "cd" only. None means 0.01, in "segmentation_hamburger" 0.1."""
    bases: str = "random"
    """Source of initial bases in training: "random" for each image, "fixed" or "running" (a moving average)."""
    evaluation_bases: str = "random"
    """Source of initial bases outside training, one of the same."""
    bases_momentum: float = 0.1
    """Decay of running bases."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require(self.ham in HAM_NAMES, f"ham must be one of {', '.join(HAM_NAMES)}, found '{self.ham}'")
        require(
            self.version in self.versions,
            f"version must be one of {', '.join(self.versions)}, found '{self.version}'",
        )
        for name, known in (
            ("gradient", HAM_GRADIENTS),
            ("bases", BASES_SOURCES),
            ("evaluation_bases", BASES_SOURCES),
        ):
            value = getattr(self, name)
            require(value in known, f"{name} must be one of {', '.join(known)}, found '{value}'")
        require_positive(self, "latent_dim", "rank", "num_steps", "num_sections", "evaluation_steps")
        for name in ("inverse_temperature", "ridge"):
            value = getattr(self, name)
            hams = [ham for ham, settings in HAM_SETTINGS.items() if name in settings]
            require(
                value is None or self.ham in hams,
                f"{name} needs ham={' or '.join(hams)}, found {value} with ham={self.ham}; leave it out",
            )
            require_positive(self, name)
        require(0 <= self.bases_momentum < 1, f"bases_momentum must be in [0, 1), found {self.bases_momentum}")
        # Training passes random bases to the networks, and given bases do not move the running ones.
        require(
            self.evaluation_bases != "running" or self.bases != "random",
            "evaluation_bases=running needs bases=running or bases=fixed, found bases=random",
        )

    @property
    def differs_in_training(self) -> bool:
        """Whether the bases or the number of steps depend on the mode."""
        return (self.bases, self.evaluation_bases, self.evaluation_steps) != ("random", "random", None)


@dataclasses.dataclass(frozen=True)
class HamburgerConfig(HamConfig):
    """A Hamburger; see :class:`hamgan.layers.Hamburger`.

    Example:
        >>> from hamgan.config import HamburgerConfig
        >>> HamburgerConfig(ham="cd", rank=16).num_steps
        6
    """

    versions: ClassVar[tuple[str, ...]] = HAMBURGER_VERSIONS
    module: str = "hamburger"


@dataclasses.dataclass(frozen=True)
class SelfAttentionConfig(ContextConfig):
    """Self-attention; see :class:`hamgan.layers.SelfAttention`.

    Example:
        >>> from hamgan.config import SelfAttentionConfig
        >>> SelfAttentionConfig(resolution=16).module
        'self_attention'
    """

    module: str = "self_attention"


@dataclasses.dataclass(frozen=True)
class ResidualContextConfig(ContextConfig):
    """What the modules to compare with Hamburger share; fields are arguments of the layer of the same name."""

    spectral_norm: bool = True
    """Whether kernels are divided by their spectral norm, as in Hamburger."""


@dataclasses.dataclass(frozen=True)
class NonLocalConfig(ResidualContextConfig):
    """A non-local block; see :class:`hamgan.layers.NonLocal`.

    Example:
        >>> from hamgan.config import NonLocalConfig
        >>> NonLocalConfig(mode="gaussian").module
        'non_local'
    """

    module: str = "non_local"
    mode: str = "embedded_gaussian"
    """Similarity of positions: "gaussian", "embedded_gaussian" or "dot_product"."""
    reduction: int = 2
    """Divisor of the number of channels inside."""
    use_scale: bool = True
    """Whether to divide the scores by the square root of their channels; False only in mode "embedded_gaussian"."""
    use_bias: bool = True
    """Whether the convolutions have a bias."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require(self.mode in NON_LOCAL_MODES, f"mode must be one of {', '.join(NON_LOCAL_MODES)}, found '{self.mode}'")
        require(
            self.use_scale or self.mode == "embedded_gaussian",
            f"use_scale=false goes with mode=embedded_gaussian, found '{self.mode}'",
        )
        require_positive(self, "reduction")


@dataclasses.dataclass(frozen=True)
class MultiHeadAttentionConfig(ResidualContextConfig):
    """Multi-head attention over positions; see :class:`hamgan.layers.MultiHeadAttention`.

    Example:
        >>> from hamgan.config import MultiHeadAttentionConfig
        >>> MultiHeadAttentionConfig(num_heads=4).module
        'multi_head_attention'
    """

    module: str = "multi_head_attention"
    num_heads: int = 8
    """Number of heads, a divisor of the number of channels."""
    use_bias: bool = False
    """Whether the convolutions have a bias."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require_positive(self, "num_heads")


@dataclasses.dataclass(frozen=True)
class DoubleAttentionConfig(ResidualContextConfig):
    """Double attention; see :class:`hamgan.layers.DoubleAttention`.

    Example:
        >>> from hamgan.config import DoubleAttentionConfig
        >>> DoubleAttentionConfig(attention_channels=16).module
        'double_attention'
    """

    module: str = "double_attention"
    feature_channels: int | None = None
    """Number of channels of the features that are gathered; None means a quarter of the channels."""
    attention_channels: int | None = None
    """Number of attention maps; None means a quarter of the channels."""
    use_bias: bool = True
    """Whether the convolutions have a bias."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require_positive(self, "feature_channels", "attention_channels")


@dataclasses.dataclass(frozen=True)
class EfficientAttentionConfig(ResidualContextConfig):
    """Efficient attention; see :class:`hamgan.layers.EfficientAttention`.

    Example:
        >>> from hamgan.config import EfficientAttentionConfig
        >>> EfficientAttentionConfig(key_channels=32, value_channels=32).module
        'efficient_attention'
    """

    module: str = "efficient_attention"
    key_channels: int | None = None
    """Number of channels of keys and queries, a multiple of ``num_heads``; None means half of the channels."""
    value_channels: int | None = None
    """Number of channels of values, a multiple of ``num_heads``; None means half of the channels."""
    num_heads: int = 1
    """Number of heads."""
    use_bias: bool = True
    """Whether the convolutions have a bias."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require_positive(self, "key_channels", "value_channels", "num_heads")


@dataclasses.dataclass(frozen=True)
class CrissCrossAttentionConfig(ResidualContextConfig):
    """Criss-cross attention; see :class:`hamgan.layers.CrissCrossAttention`.

    Example:
        >>> from hamgan.config import CrissCrossAttentionConfig
        >>> CrissCrossAttentionConfig(recurrence=1).module
        'criss_cross_attention'
    """

    module: str = "criss_cross_attention"
    recurrence: int = 2
    """Number of passes; after one, positions see their row and column only."""
    reduction: int = 8
    """Divisor of the number of channels of queries and keys."""
    use_bias: bool = True
    """Whether the convolutions have a bias."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require_positive(self, "recurrence", "reduction")


@dataclasses.dataclass(frozen=True)
class ChannelAttentionConfig(ResidualContextConfig):
    """DANet's channel attention; see :class:`hamgan.layers.ChannelAttention`.

    Example:
        >>> from hamgan.config import ChannelAttentionConfig
        >>> ChannelAttentionConfig(resolution=16).module
        'channel_attention'
    """

    module: str = "channel_attention"


@dataclasses.dataclass(frozen=True)
class EMAttentionConfig(ResidualContextConfig):
    """Expectation-maximisation attention; the fields are arguments of :class:`hamgan.layers.EMAttention`.

    Example:
        >>> from hamgan.config import EMAttentionConfig
        >>> EMAttentionConfig(num_bases=16).module
        'em_attention'
    """

    module: str = "em_attention"
    num_bases: int = 64
    """Number of bases."""
    num_steps: int = 3
    """Number of iterations."""
    bases_momentum: float = 0.9
    """Decay of the running bases."""
    gradient: str = "none"
    """Part of the iterations that is differentiated: "none" (as published), "one_step" (the last) or "unrolled"
    (all)."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require_positive(self, "num_bases", "num_steps")
        require(0 <= self.bases_momentum < 1, f"bases_momentum must be in [0, 1), found {self.bases_momentum}")
        require(
            self.gradient in EM_GRADIENTS, f"gradient must be one of {', '.join(EM_GRADIENTS)}, found '{self.gradient}'"
        )

    @property
    def differs_in_training(self) -> bool:
        """Whether training updates the bases."""
        return True


@dataclasses.dataclass(frozen=True)
class ExternalAttentionConfig(ResidualContextConfig):
    """External attention; the fields are arguments of :class:`hamgan.layers.ExternalAttention`.

    Example:
        >>> from hamgan.config import ExternalAttentionConfig
        >>> ExternalAttentionConfig(num_memories=16).module
        'external_attention'
    """

    module: str = "external_attention"
    num_memories: int = 64
    """Number of memory slots."""
    convolutions: bool = True
    """Whether there are 1x1 convolutions before and after the memories."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require_positive(self, "num_memories")


@dataclasses.dataclass(frozen=True)
class GlobalContextConfig(ResidualContextConfig):
    """A global context block; the fields are arguments of :class:`hamgan.layers.GlobalContext`.

    Example:
        >>> from hamgan.config import GlobalContextConfig
        >>> GlobalContextConfig(pooling="average").module
        'global_context'
    """

    module: str = "global_context"
    reduction: int = 4
    """Divisor of the number of channels between the layers of a transform."""
    pooling: str = "attention"
    """Weights of the positions: "attention" or "average" (all the same)."""
    fusion: str = "add"
    """Use of the context: "add", "mul" or "both"."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require_positive(self, "reduction")
        for name, known in (("pooling", GLOBAL_CONTEXT_POOLINGS), ("fusion", GLOBAL_CONTEXT_FUSIONS)):
            value = getattr(self, name)
            require(value in known, f"{name} must be one of {', '.join(known)}, found '{value}'")


@dataclasses.dataclass(frozen=True)
class PyramidPoolingConfig(ResidualContextConfig):
    """Pyramid pooling; see :class:`hamgan.layers.PyramidPooling`.

    Example:
        >>> from hamgan.config import PyramidPoolingConfig
        >>> PyramidPoolingConfig(branch_channels=16).module
        'pyramid_pooling'
    """

    module: str = "pyramid_pooling"
    branch_channels: int | None = None
    """Number of channels of a branch; None means a quarter of the channels."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require_positive(self, "branch_channels")


@dataclasses.dataclass(frozen=True)
class SqueezeExcitationConfig(ResidualContextConfig):
    """Squeeze-and-excitation; the fields are arguments of :class:`hamgan.layers.SqueezeExcitation`.

    Example:
        >>> from hamgan.config import SqueezeExcitationConfig
        >>> SqueezeExcitationConfig(reduction=4).module
        'squeeze_excitation'
    """

    module: str = "squeeze_excitation"
    reduction: int = 16
    """Divisor of the number of channels between the two layers."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require_positive(self, "reduction")


@dataclasses.dataclass(frozen=True)
class SegmentationHamburgerConfig(HamConfig):
    """The branch of a segmentation network's Hamburger; see :class:`hamgan.layers.SegmentationContext`.

    Example:
        >>> from hamgan.config import SegmentationHamburgerConfig
        >>> SegmentationHamburgerConfig(version="v1").module
        'segmentation_hamburger'
    """

    versions: ClassVar[tuple[str, ...]] = SEGMENTATION_VERSIONS
    module: str = "segmentation_hamburger"
    version: str = "v2"
    """Order of the layers: "v1", "v2" or "v2plus"."""
    cheese_factor: int | None = None
    """Divisor of the width of the cheese; "v2plus" only."""
    spectral_norm: bool = True
    """Whether kernels are divided by their spectral norm."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require_positive(self, "cheese_factor")
        require(
            self.cheese_factor is None or self.version == "v2plus",
            f"cheese_factor needs version=v2plus, found {self.cheese_factor} with version={self.version}; leave it out",
        )


CONTEXT_CONFIGS: dict[str, type[ContextConfig]] = {
    "hamburger": HamburgerConfig,
    "self_attention": SelfAttentionConfig,
    "non_local": NonLocalConfig,
    "multi_head_attention": MultiHeadAttentionConfig,
    "double_attention": DoubleAttentionConfig,
    "efficient_attention": EfficientAttentionConfig,
    "criss_cross_attention": CrissCrossAttentionConfig,
    "channel_attention": ChannelAttentionConfig,
    "em_attention": EMAttentionConfig,
    "external_attention": ExternalAttentionConfig,
    "global_context": GlobalContextConfig,
    "pyramid_pooling": PyramidPoolingConfig,
    "squeeze_excitation": SqueezeExcitationConfig,
    "segmentation_hamburger": SegmentationHamburgerConfig,
}
"""The config class of each context module by name."""
