"""The context modules of a network: which there are by name, and after which blocks they stand."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from hamgan.architecture import check_context_resolution
from hamgan.layers import Hamburger, SelfAttention
from hamgan.layers.context import ContextModule

CONTEXT_MODULES: dict[str, type[ContextModule]] = {"hamburger": Hamburger, "self_attention": SelfAttention}


def complete_arguments(context: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns the settings of context modules with the defaults that differ from those of the layers.

    Raises:
        ValueError: a module has no resolution, or there is none of its name.
    """
    complete = []
    for settings in context:
        module = settings.get("module")
        if module not in CONTEXT_MODULES:
            raise ValueError(f"context module must be one of {tuple(CONTEXT_MODULES)}, received {module!r}")
        if "resolution" not in settings:
            raise ValueError(f"context module {module!r} needs a resolution, received {dict(settings)}")
        # As published: the trainer and the sampler bring random bases of their own.
        defaults = {"evaluation_bases": "random"} if CONTEXT_MODULES[module].has_bases else {}
        complete.append({**defaults, **settings})
    return complete


def make_context(
    context: Sequence[Mapping[str, Any]], *, batch_norm: Mapping[str, Any], dtype: Any
) -> tuple[ContextModule, ...]:
    """Creates context modules.

    The first of a kind has the kind's name, such as "hamburger"; the next ones are "hamburger_2" and so on.

    Args:
        context: settings from :func:`complete_arguments`.
        batch_norm: constructor arguments of modules that have a batch normalisation.
        dtype: dtype policy of the layers.
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
    # A tuple: tf.train.Checkpoint skips what a Keras object keeps in a list.
    return tuple(modules)


def context_after_blocks(
    context: Sequence[Mapping[str, Any]], sizes: Sequence[int], num_blocks: int
) -> tuple[tuple[int, ...], ...]:
    """Returns, for each block, the indices of the context modules that follow it.

    Args:
        context: settings with a resolution each.
        sizes: height and width of the blocks' outputs at which context modules may stand.
        num_blocks: number of blocks.

    Raises:
        ValueError: no block has an output of a module's resolution.
    """
    for settings in context:
        check_context_resolution(settings["resolution"], sizes)
    blocks = [sizes.index(settings["resolution"]) for settings in context]
    return tuple(tuple(index for index, block in enumerate(blocks) if block == number) for number in range(num_blocks))
