"""Construction of networks from a config. Layers and networks do not depend on configs."""

import dataclasses
from typing import Any

from hamgan.config import FROM_DATASET, ModelConfig
from hamgan.errors import UserError
from hamgan.networks.discriminator import Discriminator
from hamgan.networks.generator import Generator


def build_generator(config: ModelConfig, *, name: str = "generator", precision: str = "float32") -> Generator:
    """Builds the generator of a config.

    Args:
        config: config of both networks.
        name: name of the network.
        precision: Keras dtype policy, such as "float32" or "mixed_bfloat16".

    Raises:
        UserError: if the config leaves a value to the data set.
    """
    return Generator(
        base_channels=config.generator.base_channels,
        z_dim=config.generator.z_dim,
        batch_norm_momentum=config.generator.batch_norm_momentum,
        context=[dataclasses.asdict(module) for module in config.generator.context],
        name=name,
        **_shared_arguments(config, precision),
    )


def build_discriminator(config: ModelConfig, *, precision: str = "float32") -> Discriminator:
    """Builds the discriminator of a config.

    Args:
        config: config of both networks.
        precision: Keras dtype policy, such as "float32" or "mixed_bfloat16".

    Raises:
        UserError: if the config leaves a value to the data set.
    """
    return Discriminator(
        base_channels=config.discriminator.base_channels,
        context=[dataclasses.asdict(module) for module in config.discriminator.context],
        **_shared_arguments(config, precision),
    )


def _check_is_set(config: ModelConfig) -> None:
    values = {"model.num_classes": config.num_classes, "model.resolution": config.resolution}
    for name, network in (("generator", config.generator), ("discriminator", config.discriminator)):
        for index, module in enumerate(network.context):
            values[f"model.{name}.context.{index}.resolution"] = module.resolution
    unset = [name for name, value in values.items() if value is FROM_DATASET]
    if unset:
        raise UserError(
            f"this config takes {', '.join(unset)} from the data set, but the networks are built without one; "
            f"override {'it' if len(unset) == 1 else 'them'}"
        )


def _shared_arguments(config: ModelConfig, precision: str) -> dict[str, Any]:
    _check_is_set(config)
    return {
        "resolution": config.resolution,
        "num_classes": config.num_classes,
        "channels": config.channels,
        "convolution_form": config.convolution_form,
        "dtype": precision,
    }
