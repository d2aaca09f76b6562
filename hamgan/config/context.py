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
    """A context module of a network; subclasses add the settings of their module."""

    module: str = ""
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
    version: str = "v1"
    latent_dim: int = 256
    rank: int = 32
    num_steps: int = 6
    num_sections: int = 1
    evaluation_steps: int | None = None
    gradient: str = "one_step"
    inverse_temperature: float | None = None
    ridge: float | None = None
    bases: str = "random"
    evaluation_bases: str = "random"
    bases_momentum: float = 0.1

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
    """A Hamburger; see :class:`hamgan.layers.Hamburger`."""

    versions: ClassVar[tuple[str, ...]] = HAMBURGER_VERSIONS
    module: str = "hamburger"


@dataclasses.dataclass(frozen=True)
class SelfAttentionConfig(ContextConfig):
    """Self-attention; see :class:`hamgan.layers.SelfAttention`."""

    module: str = "self_attention"


@dataclasses.dataclass(frozen=True)
class ResidualContextConfig(ContextConfig):
    """What the modules to compare with Hamburger share; fields are arguments of the layer of the same name."""

    spectral_norm: bool = True
    """Whether kernels are divided by their spectral norm, as in Hamburger."""


@dataclasses.dataclass(frozen=True)
class NonLocalConfig(ResidualContextConfig):
    """A non-local block; see :class:`hamgan.layers.NonLocal`."""

    module: str = "non_local"
    mode: str = "embedded_gaussian"
    reduction: int = 2
    use_scale: bool = True
    use_bias: bool = True

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
    """Multi-head attention over positions; see :class:`hamgan.layers.MultiHeadAttention`."""

    module: str = "multi_head_attention"
    num_heads: int = 8
    use_bias: bool = False

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require_positive(self, "num_heads")


@dataclasses.dataclass(frozen=True)
class DoubleAttentionConfig(ResidualContextConfig):
    """Double attention; see :class:`hamgan.layers.DoubleAttention`."""

    module: str = "double_attention"
    feature_channels: int | None = None
    attention_channels: int | None = None
    use_bias: bool = True

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require_positive(self, "feature_channels", "attention_channels")


@dataclasses.dataclass(frozen=True)
class EfficientAttentionConfig(ResidualContextConfig):
    """Efficient attention; see :class:`hamgan.layers.EfficientAttention`."""

    module: str = "efficient_attention"
    key_channels: int | None = None
    value_channels: int | None = None
    num_heads: int = 1
    use_bias: bool = True

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require_positive(self, "key_channels", "value_channels", "num_heads")


@dataclasses.dataclass(frozen=True)
class CrissCrossAttentionConfig(ResidualContextConfig):
    """Criss-cross attention; see :class:`hamgan.layers.CrissCrossAttention`."""

    module: str = "criss_cross_attention"
    recurrence: int = 2
    reduction: int = 8
    use_bias: bool = True

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require_positive(self, "recurrence", "reduction")


@dataclasses.dataclass(frozen=True)
class ChannelAttentionConfig(ResidualContextConfig):
    """DANet's channel attention; see :class:`hamgan.layers.ChannelAttention`."""

    module: str = "channel_attention"


@dataclasses.dataclass(frozen=True)
class EMAttentionConfig(ResidualContextConfig):
    """Expectation-maximisation attention; the fields are arguments of :class:`hamgan.layers.EMAttention`."""

    module: str = "em_attention"
    num_bases: int = 64
    num_steps: int = 3
    bases_momentum: float = 0.9
    gradient: str = "none"

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
    """External attention; the fields are arguments of :class:`hamgan.layers.ExternalAttention`."""

    module: str = "external_attention"
    num_memories: int = 64
    convolutions: bool = True

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require_positive(self, "num_memories")


@dataclasses.dataclass(frozen=True)
class GlobalContextConfig(ResidualContextConfig):
    """A global context block; the fields are arguments of :class:`hamgan.layers.GlobalContext`."""

    module: str = "global_context"
    reduction: int = 4
    pooling: str = "attention"
    fusion: str = "add"

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require_positive(self, "reduction")
        for name, known in (("pooling", GLOBAL_CONTEXT_POOLINGS), ("fusion", GLOBAL_CONTEXT_FUSIONS)):
            value = getattr(self, name)
            require(value in known, f"{name} must be one of {', '.join(known)}, found '{value}'")


@dataclasses.dataclass(frozen=True)
class PyramidPoolingConfig(ResidualContextConfig):
    """Pyramid pooling; see :class:`hamgan.layers.PyramidPooling`."""

    module: str = "pyramid_pooling"
    branch_channels: int | None = None

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require_positive(self, "branch_channels")


@dataclasses.dataclass(frozen=True)
class SqueezeExcitationConfig(ResidualContextConfig):
    """Squeeze-and-excitation; the fields are arguments of :class:`hamgan.layers.SqueezeExcitation`."""

    module: str = "squeeze_excitation"
    reduction: int = 16

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require_positive(self, "reduction")


@dataclasses.dataclass(frozen=True)
class SegmentationHamburgerConfig(HamConfig):
    """The branch of a segmentation network's Hamburger; see :class:`hamgan.layers.SegmentationContext`."""

    versions: ClassVar[tuple[str, ...]] = SEGMENTATION_VERSIONS
    module: str = "segmentation_hamburger"
    version: str = "v2"
    cheese_factor: int | None = None
    spectral_norm: bool = True

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
