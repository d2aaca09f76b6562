"""Networks from a config. The layers and models themselves know no configs."""

import dataclasses
from typing import Any

from hamgan.config import HamburgerConfig, ModelConfig
from hamgan.networks import Discriminator, Generator


def build_generator(config: ModelConfig, *, name: str = "generator", precision: str = "float32") -> Generator:
    """Builds the generator, all weights included; ``precision`` is the Keras dtype policy."""
    return Generator(
        resolution=config.resolution,
        num_classes=config.num_classes,
        base_channels=config.generator.base_channels,
        z_dim=config.generator.z_dim,
        batch_norm_momentum=config.generator.batch_norm_momentum,
        # "plain" is the networks as written.
        recomputed_blocks=0 if config.convolution_form == "plain" else config.generator.recomputed_blocks,
        name=name,
        convolution_form=config.convolution_form,
        dtype=precision,
        **_hamburger_arguments(config.generator.hamburger),
    )


def build_discriminator(config: ModelConfig, *, precision: str = "float32") -> Discriminator:
    """Builds the discriminator, all weights included; ``precision`` is the Keras dtype policy."""
    return Discriminator(
        resolution=config.resolution,
        num_classes=config.num_classes,
        base_channels=config.discriminator.base_channels,
        convolution_form=config.convolution_form,
        dtype=precision,
        **_hamburger_arguments(config.discriminator.hamburger),
    )


def _hamburger_arguments(config: HamburgerConfig | None) -> dict[str, Any]:
    if config is None:
        return {"hamburger": None}
    arguments = dataclasses.asdict(config)
    resolution = arguments.pop("resolution")
    return {"hamburger": arguments, "hamburger_resolution": resolution}
