"""Construction of a network's context modules, and their position between the blocks."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from hamgan.architecture import check_context_resolution
from hamgan.layers import (
    ChannelAttention,
    CrissCrossAttention,
    DoubleAttention,
    EfficientAttention,
    EMAttention,
    ExternalAttention,
    GlobalContext,
    Hamburger,
    MultiHeadAttention,
    NonLocal,
    PyramidPooling,
    SegmentationContext,
    SelfAttention,
    SqueezeExcitation,
)
from hamgan.layers.context import ContextModule

CONTEXT_MODULES: dict[str, type[ContextModule]] = {
    "hamburger": Hamburger,
    "self_attention": SelfAttention,
    "non_local": NonLocal,
    "multi_head_attention": MultiHeadAttention,
    "double_attention": DoubleAttention,
    "efficient_attention": EfficientAttention,
    "criss_cross_attention": CrissCrossAttention,
    "channel_attention": ChannelAttention,
    "em_attention": EMAttention,
    "external_attention": ExternalAttention,
    "global_context": GlobalContext,
    "pyramid_pooling": PyramidPooling,
    "squeeze_excitation": SqueezeExcitation,
    "segmentation_hamburger": SegmentationContext,
}
"""The classes of context modules by name."""


def complete_arguments(context: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Validates the settings of context modules, and adds the defaults that differ from those of the layers.

    Args:
        context: settings of each module: "module", "resolution" and arguments of the layer.

    Raises:
        ValueError: if a module is unknown or has no resolution.
    """
    complete = []
    for settings in context:
        module = settings.get("module")
        if module not in CONTEXT_MODULES:
            raise ValueError(f"context module must be one of {tuple(CONTEXT_MODULES)}, received {module!r}")
        if "resolution" not in settings:
            raise ValueError(f"context module {module!r} needs a resolution, received {dict(settings)}")
        # As published. The trainer and the sampler draw random bases and pass them to the network.
        defaults = {"evaluation_bases": "random"} if CONTEXT_MODULES[module].has_bases else {}
        complete.append({**defaults, **settings})
    return complete


def make_context(
    context: Sequence[Mapping[str, Any]], *, batch_norm: Mapping[str, Any], dtype: Any
) -> tuple[ContextModule, ...]:
    """Creates context modules, named "hamburger", "hamburger_2" and so on within each kind.

    Args:
        context: settings from :func:`complete_arguments`.
        batch_norm: further constructor arguments of modules with batch normalisation.
        dtype: dtype policy of the modules.
    """
    modules = []
    counts: Counter[str] = Counter()
    for settings in context:
        arguments = dict(settings)
        kind = arguments.pop("module")
        del arguments["resolution"]
        counts[kind] += 1
        name = kind if counts[kind] == 1 else f"{kind}_{counts[kind]}"
        module = CONTEXT_MODULES[kind]
        if module.has_batch_norm:
            arguments = {**batch_norm, **arguments}
        modules.append(module(**arguments, name=name, dtype=dtype))
    # A tuple, because tf.train.Checkpoint ignores lists in Keras objects.
    return tuple(modules)


def context_after_blocks(
    context: Sequence[Mapping[str, Any]], sizes: Sequence[int], num_blocks: int
) -> tuple[tuple[int, ...], ...]:
    """Returns the indices of the context modules that follow each block.

    Args:
        context: settings from :func:`complete_arguments`.
        sizes: sizes (height and width) of the outputs of the first blocks, which may be followed by context modules.
        num_blocks: number of blocks.

    Raises:
        ValueError: if the resolution of a module is not among the sizes.
    """
    for settings in context:
        check_context_resolution(settings["resolution"], sizes)
    blocks = [sizes.index(settings["resolution"]) for settings in context]
    return tuple(tuple(index for index, block in enumerate(blocks) if block == number) for number in range(num_blocks))
