"""Config of the networks."""

import dataclasses

from hamgan.architecture import (
    CHANNELS,
    CONVOLUTION_FORMS,
    RESOLUTIONS,
    check_context_resolution,
    discriminator_stages,
    generator_stages,
)
from hamgan.config.context import ContextConfig, HamburgerConfig
from hamgan.config.fields import FROM_DATASET, FromDataset, require, require_fractions, require_positive
from hamgan.errors import UserError


@dataclasses.dataclass(frozen=True)
class GeneratorConfig:
    """The generator.

    Example:
        >>> from hamgan.config import GeneratorConfig, SelfAttentionConfig
        >>> GeneratorConfig(context=(SelfAttentionConfig(resolution=16),)).z_dim
        128
    """

    base_channels: int = 64
    """Number of channels at full resolution."""
    z_dim: int = 128
    """Number of latent dimensions."""
    batch_norm_momentum: float = 0.999
    """Decay of the moving averages of batch normalisation."""
    context: tuple[ContextConfig, ...] = (HamburgerConfig(),)
    """Context modules."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        require_positive(self, "base_channels", "z_dim")
        require_fractions(self, "batch_norm_momentum")


@dataclasses.dataclass(frozen=True)
class DiscriminatorConfig:
    """The discriminator.

    Example:
        >>> from hamgan.config import DiscriminatorConfig
        >>> DiscriminatorConfig(base_channels=32, context=()).context
        ()
    """

    base_channels: int = 64
    """Number of channels after the first block."""
    context: tuple[ContextConfig, ...] = (HamburgerConfig(latent_dim=128, rank=16),)
    """Context modules."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        require_positive(self, "base_channels")


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Both networks.

    Example:
        >>> from hamgan.config import GeneratorConfig, ModelConfig
        >>> ModelConfig(resolution=64, num_classes=10, generator=GeneratorConfig(z_dim=64)).channels
        3
    """

    resolution: FromDataset[int] = 128
    """Height and width of the images."""
    num_classes: FromDataset[int] = 1000
    """Number of classes."""
    channels: int = 3
    """Number of channels of the images: 3 for RGB, 1 for gray."""
    generator: GeneratorConfig = GeneratorConfig()
    """The generator."""
    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    """The discriminator."""
    convolution_form: str = "auto"
    """Algorithm for convolutions with resampling; results agree up to rounding."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        if self.num_classes is not FROM_DATASET:
            require_positive(self, "num_classes")
        require(
            self.resolution is FROM_DATASET or self.resolution in RESOLUTIONS,
            f"model.resolution must be one of {', '.join(map(str, RESOLUTIONS))}, found {self.resolution}",
        )
        require(self.channels in CHANNELS, f"model.channels must be 1 (gray) or 3 (RGB), found {self.channels}")
        require(
            self.convolution_form in CONVOLUTION_FORMS,
            f"model.convolution_form must be one of {', '.join(CONVOLUTION_FORMS)}, found '{self.convolution_form}'",
        )
        if self.resolution is not FROM_DATASET:
            self._check_context()

    def _check_context(self) -> None:
        """Raises UserError if a network has no feature maps of the resolution of a context module."""
        for name, network, stages in (
            ("generator", self.generator, generator_stages(self.resolution)[1:]),
            ("discriminator", self.discriminator, discriminator_stages(self.resolution)),
        ):
            for index, module in enumerate(network.context):
                if module.resolution is FROM_DATASET:
                    continue
                try:
                    check_context_resolution(module.resolution, [size for size, _ in stages])
                except ValueError as error:
                    raise UserError(
                        f"model.{name}.{error} at model.resolution {self.resolution}; override "
                        f"model.{name}.context.{index}.resolution, or set model.{name}.context=none"
                    ) from error
