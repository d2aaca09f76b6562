"""Networks from a config. The layers and networks themselves know no configs."""

import dataclasses
from typing import Any

from hamgan.config import ModelConfig
from hamgan.networks.discriminator import Discriminator
from hamgan.networks.generator import Generator


def build_generator(config: ModelConfig, *, name: str = "generator", precision: str = "float32") -> Generator:
    """Builds the generator with all weights; ``precision`` is the Keras dtype policy."""
    return Generator(
        base_channels=config.generator.base_channels,
        z_dim=config.generator.z_dim,
        batch_norm_momentum=config.generator.batch_norm_momentum,
        context=[dataclasses.asdict(module) for module in config.generator.context],
        name=name,
        **_shared_arguments(config, precision),
    )


def build_discriminator(config: ModelConfig, *, precision: str = "float32") -> Discriminator:
    """Builds the discriminator with all weights; ``precision`` is the Keras dtype policy."""
    return Discriminator(
        base_channels=config.discriminator.base_channels,
        context=[dataclasses.asdict(module) for module in config.discriminator.context],
        **_shared_arguments(config, precision),
    )


def _shared_arguments(config: ModelConfig, precision: str) -> dict[str, Any]:
    return {
        "resolution": config.resolution,
        "num_classes": config.num_classes,
        "convolution_form": config.convolution_form,
        "dtype": precision,
    }
