"""Names and shapes of weights in checkpoints of the published implementation."""

import re

SCOPES = {"generator": "Generator/generator", "discriminator": "Discriminator/discriminator"}

GLOBAL_STEP = "global_step"

_IGNORED = re.compile(r"(.*/)?(Adam|Adam_1|beta1_power(_\d+)?|beta2_power(_\d+)?|global_step)")


def is_ignored(name: str) -> bool:
    """Returns whether a variable is not a weight: an optimizer slot, a power of beta or the global step."""
    return _IGNORED.fullmatch(name) is not None


def official_name(path: str, *, version: str = "v1") -> str:
    """Returns the published name of a weight.

    Args:
        path: path of the weight in this project, such as ``generator/block1/conv1/kernel``.
        version: version of the Hamburger, which determines the name of its batch normalisation.

    Raises:
        ValueError: if the published networks have no such weight.
    """
    network, *parents, leaf = path.split("/")
    scope = SCOPES[network]
    match parents:
        case ["dense"]:
            return _normalized(scope, "g_snh0/dense" if network == "generator" else "d_sn_linear/dense", leaf)
        case ["embedding"]:
            u = "spectral_normalize/spectral_norm/spectral_norm_u"
            return f"{scope}/d_embedding/{u if leaf == 'u' else 'embedding_map'}"
        case ["to_rgb"]:
            return _normalized(scope, "g_snconv_last/g_snconv_last", leaf)
        case ["norm"]:
            return f"{scope}/g_bn/{leaf}"
        case ["hamburger", *inner]:
            return _hamburger_name(scope, f"{network[0]}_ops", inner, leaf, version)
        case [block, "norm1" | "norm2" as norm]:
            return f"{scope}/g_block{_number(block)}/cbn_{int(norm[-1]) - 1}/{leaf}"
        case [block, "conv1" | "conv2" | "shortcut" as conv]:
            index = {"conv1": 1, "conv2": 2, "shortcut": 3}[conv]
            return _normalized(scope, _conv_scope(network, _number(block), index), leaf)
    raise ValueError(f"{path} has no counterpart in the published implementation")


def _number(block: str) -> int:
    return int(block.removeprefix("block"))


def _conv_scope(network: str, block: int, index: int) -> str:
    if network == "generator":
        return f"g_block{block}/snconv{index}/snconv{index}"
    return f"{'d_optimized_block1' if block == 1 else f'd_block{block}'}/sn_conv{index}/sn_conv{index}"


def _hamburger_name(scope: str, ops: str, parents: list[str], leaf: str, version: str) -> str:
    match parents:
        case []:
            return f"{scope}/{ops}/sigma_ratio"
        case ["batch_norm"]:
            return f"{scope}/{ops}/{'cheese_bn' if version == 'v2' else 'upper_bread_bn'}/{leaf}"
        case [conv]:
            return _normalized(scope, f"{ops}/sn_{conv}", leaf, kernel="weights")
    raise ValueError(f"{ops}/{'/'.join(parents)} has no counterpart in the published implementation")


def _normalized(scope: str, layer: str, leaf: str, *, kernel: str = "kernel") -> str:
    """Returns the name of a weight of a spectrally normalised layer; that of u repeats the layer's full name."""
    full = f"{scope}/{layer}"
    if leaf == "u":
        return f"{full}/{full}/{kernel}/spectral_normalize/spectral_norm/spectral_norm_u"
    return f"{full}/{kernel if leaf == 'kernel' else leaf}"


def official_shape(path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the published shape of a weight: ``(classes or 1, 1, 1, channels)`` for gamma and beta."""
    if path.endswith(("/gamma", "/beta")):
        classes, channels = shape if len(shape) == 2 else (1, shape[0])
        return (classes, 1, 1, channels)
    return shape
