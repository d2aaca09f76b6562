"""Configs of the context modules of networks."""

import dataclasses

from hamgan.architecture import HAM_NAMES, HAMBURGER_VERSIONS
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


@dataclasses.dataclass(frozen=True)
class HamburgerConfig(ContextConfig):
    """A Hamburger; the fields are arguments of :class:`hamgan.layers.Hamburger`."""

    module: str = "hamburger"
    ham: str = "nmf"
    version: str = "v1"
    latent_dim: int = 256
    rank: int = 32
    num_steps: int = 6
    num_sections: int = 1

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require(self.ham in HAM_NAMES, f"ham must be one of {', '.join(HAM_NAMES)}, found '{self.ham}'")
        require(
            self.version in HAMBURGER_VERSIONS,
            f"version must be one of {', '.join(HAMBURGER_VERSIONS)}, found '{self.version}'",
        )
        require_positive(self, "latent_dim", "rank", "num_steps", "num_sections")


@dataclasses.dataclass(frozen=True)
class SelfAttentionConfig(ContextConfig):
    """Self-attention; see :class:`hamgan.layers.SelfAttention`."""

    module: str = "self_attention"


@dataclasses.dataclass(frozen=True)
class ResidualContextConfig(ContextConfig):
    """What the modules to compare with Hamburger share; fields are arguments of the layer of the same name."""

    spectral_norm: bool = True
    """Whether kernels are divided by their spectral norm, as in Hamburger."""


CONTEXT_CONFIGS: dict[str, type[ContextConfig]] = {
    "hamburger": HamburgerConfig,
    "self_attention": SelfAttentionConfig,
}
"""The config class of each context module by name."""
