"""Inference of an architecture from the shapes in a published checkpoint."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from hamgan.architecture import SMALLEST_FEATURE_MAP, discriminator_stages, generator_stages
from hamgan.config import ContextConfig, HamburgerConfig, ModelConfig
from hamgan.errors import UserError
from hamgan.published.names import SCOPES

Shapes = Mapping[str, tuple[int, ...]]

NOT_RECORDED = ("ham", "rank", "num_steps", "num_sections")
"""Settings of a Hamburger that checkpoints do not record, because a ham has no weights."""


def read_architecture(shapes: Shapes, assumed: ModelConfig) -> ModelConfig:
    """Infers the architecture of a checkpoint.

    Args:
        shapes: shapes of all variables by name.
        assumed: architecture with the settings that a checkpoint does not record (:data:`NOT_RECORDED`).

    Raises:
        UserError: if a variable is missing, or the shapes match no network.
    """
    generator, discriminator = SCOPES["generator"], SCOPES["discriminator"]
    pattern = re.compile(rf"{generator}/g_block(\d+)/snconv2/snconv2/kernel")
    blocks = [int(match[1]) for match in map(pattern.fullmatch, shapes) if match]
    if not blocks:
        raise UserError(
            f"expected a published HamGAN checkpoint, with {generator}/g_block1/snconv2/snconv2/kernel; "
            f"found {', '.join(sorted(shapes)[:3]) or 'no variables'}"
        )
    last = max(blocks)
    resolution = SMALLEST_FEATURE_MAP * 2**last
    z_dim = _dimension(shapes, f"{generator}/g_snh0/dense/kernel", 0)
    num_classes = _dimension(shapes, f"{generator}/g_block1/cbn_0/gamma", 0)
    generator_channels = _dimension(shapes, f"{generator}/g_block{last}/snconv2/snconv2/kernel", 3)
    discriminator_channels = _dimension(shapes, f"{discriminator}/d_optimized_block1/sn_conv1/sn_conv1/kernel", 3)
    return dataclasses.replace(
        assumed,
        resolution=resolution,
        num_classes=num_classes,
        generator=dataclasses.replace(
            assumed.generator,
            base_channels=generator_channels,
            z_dim=z_dim,
            context=_context(
                shapes,
                f"{generator}/g_ops",
                assumed.generator.context,
                _widths(generator_stages(resolution)[1:], generator_channels),
            ),
        ),
        discriminator=dataclasses.replace(
            assumed.discriminator,
            base_channels=discriminator_channels,
            context=_context(
                shapes,
                f"{discriminator}/d_ops",
                assumed.discriminator.context,
                _widths(discriminator_stages(resolution), discriminator_channels),
            ),
        ),
    )


def _widths(stages: list[tuple[int, int]], base_channels: int) -> dict[int, int]:
    return {size: multiplier * base_channels for size, multiplier in stages}


def _dimension(shapes: Shapes, name: str, axis: int) -> int:
    if name not in shapes:
        raise UserError(f"the checkpoint lacks {name}")
    shape = shapes[name]
    if len(shape) <= axis:
        raise UserError(f"expected {name} with {axis + 1} dimensions or more, found shape {shape}")
    return shape[axis]


def _context(
    shapes: Shapes, scope: str, modules: Sequence[ContextConfig], widths: Mapping[int, int]
) -> tuple[HamburgerConfig, ...]:
    """Returns the Hamburger in ``scope``, if there is one; ``widths`` are the channels by feature map size."""
    lower_bread = f"{scope}/sn_lower_bread/weights"
    if not any(name.startswith(f"{scope}/") for name in shapes):
        return ()
    assumed = next((module for module in modules if isinstance(module, HamburgerConfig)), HamburgerConfig())
    channels, inner = _dimension(shapes, lower_bread, 2), _dimension(shapes, lower_bread, 3)
    sizes = [size for size, width in widths.items() if width == channels]
    if not sizes:
        raise UserError(f"{lower_bread} has {channels} input channels; no block outputs as many (by size: {widths})")
    if inner % assumed.num_sections:
        raise UserError(
            f"{lower_bread} has {inner} output channels, which {assumed.num_sections} sections do not divide; "
            "override num_sections"
        )
    read: dict[str, Any] = {
        "resolution": assumed.resolution if assumed.resolution in sizes else sizes[0],
        "version": "v2" if f"{scope}/sn_cheese/weights" in shapes else "v1",
        "latent_dim": inner // assumed.num_sections,
    }
    return (dataclasses.replace(assumed, **read),)
