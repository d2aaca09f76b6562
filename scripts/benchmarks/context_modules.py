"""The modules that context.py compares, and their parameters and multiply-adds by formula.

To add a module, write a function of its cost and add a :class:`Variant` to ``VARIANTS``; the tests check both.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import benchmarking

CHANNELS_MULTIPLE = 16
"""The number of channels is a multiple of this, so that all modules can divide it as they do by default."""
NUM_STEPS = 6
RANK_DIVISOR = 8
FLOAT_BYTES = 4
LIVE_COPIES = {"inference": 2, "training": 4}
"""Upper bounds of the matrices of scores in memory at once: scores and softmax; in training also their gradients."""
SEED = 0
GROUPS = {
    "hams": "matrix decomposition",
    "pairs": "attention over all pairs of positions",
    "others": "attention of lower cost",
    "pooling": "pooling",
}
"""Titles of the groups in which modules are shown."""


@dataclasses.dataclass(frozen=True)
class Cost:
    """Cost of a module for one image.

    Attributes:
        parameters: number of values in trainable weights, sigma included.
        multiply_adds: those of the convolutions and matrix products of one forward pass.
        untrained: number of other stored values, without the singular vectors of spectral normalisation.
        ham_multiply_adds: the part of the multiply-adds in the ham.
        scores: number of entries of the largest matrices of scores, which stand in memory at once.
    """

    parameters: int
    multiply_adds: int
    untrained: int = 0
    ham_multiply_adds: int = 0
    scores: int = 0


@dataclasses.dataclass(frozen=True)
class Variant:
    """A module to compare.

    Attributes:
        module: name of the module in ``CONTEXT_MODULES``.
        group: one of ``GROUPS``.
        title: name in tables for readers who do not know the names of modules.
        description: what the module computes, for C channels.
        cost: function of height (equal to width) and C.
        arguments: function of C that returns the arguments of the layer.
    """

    module: str
    group: str
    title: str
    description: str
    cost: Callable[[int, int], Cost]
    arguments: Callable[[int], Mapping[str, Any]] = lambda _: {}


def hamburger(ham: str) -> Callable[[int, int], Cost]:
    """Hamburger V1 without batch normalisation: two breads of C D weights, and the ham; D = C."""

    def cost(size: int, channels: int) -> Cost:
        breads = 2 * channels**2
        products = ham_multiply_adds(ham, size**2, channels)
        return Cost(breads + 1, size**2 * breads + products, ham_multiply_adds=products)

    return cost


def segmentation_hamburger(version: str) -> Callable[[int, int], Cost]:
    """The branch of HamNet's block with NMF and D = C: two breads, a bias and, in V2 and V2+, a cheese of C^2."""

    def cost(size: int, channels: int) -> Cost:
        weights = (2 if version == "v1" else 3) * channels**2
        products = ham_multiply_adds("nmf", size**2, channels)
        return Cost(weights + channels + 1, size**2 * weights + products, ham_multiply_adds=products)

    return cost


def ham_multiply_adds(ham: str, positions: int, latent_dim: int) -> int:
    """Returns the multiply-adds of a decomposition: K steps, the final update and the reconstruction.

    Each step computes X^T A and X C, N D R each; the end adds X^T A and A C^T. The first X^T A also gives the initial
    coefficients. NMF also computes C (A^T A) in K + 1 updates of C and A (C^T C) in K updates of A: (2 K + 1) (N + D)
    R^2 with the products of R by R. The regression of CD computes A^T A and solves R equations for D right-hand sides,
    D R^2 each, with a Cholesky factor of R^3 / 6. (Evaluation replaces the Cholesky factor by about 20 products of R by
    R, which are equally negligible.)
    """
    rank = latent_dim // RANK_DIVISOR
    products = (2 * NUM_STEPS + 2) * positions * latent_dim * rank
    if ham == "nmf":
        return products + (2 * NUM_STEPS + 1) * (positions + latent_dim) * rank**2
    if ham == "cd":
        return products + 2 * latent_dim * rank**2 + rank**3 // 6
    return products


def self_attention(size: int, channels: int) -> Cost:
    """Queries and keys of C / 8 channels, values of C / 2; N / 4 keys and values after pooling."""
    key_dim, value_dim = channels // 8, channels // 2
    weights = 2 * channels * (key_dim + value_dim)
    scores = size**2 * (size // 2) ** 2
    return Cost(weights + 1, size**2 * weights + scores * (key_dim + value_dim), scores=scores)


def multi_head_attention(num_heads: int) -> Callable[[int, int], Cost]:
    """4 N C^2 for the convolutions, which have no biases, and 2 N^2 C for the scores and weighted sums of all heads."""

    def cost(size: int, channels: int) -> Cost:
        weights = 4 * channels**2
        return Cost(weights + 1, size**2 * weights + 2 * size**4 * channels, scores=num_heads * size**4)

    return cost


def non_local(mode: str) -> Callable[[int, int], Cost]:
    """4 N C d + 2 N^2 d with d = C / 2; in mode "gaussian", 2 N C d + N^2 (C + d), without theta and phi."""

    def cost(size: int, channels: int) -> Cost:
        inner = channels // 2
        num_inner, score_dim = (1, channels) if mode == "gaussian" else (3, inner)
        weights = (num_inner + 1) * channels * inner
        products = size**4 * (score_dim + inner)
        return Cost(weights + num_inner * inner + channels + 1, size**2 * weights + products, scores=size**4)

    return cost


def double_attention(size: int, channels: int) -> Cost:
    """N C (m + 2 n) + 2 N m n + N m C with m = n = C / 4."""
    inner = channels // 4
    weights = 4 * channels * inner
    return Cost(weights + 3 * inner + channels + 1, size**2 * (weights + 2 * inner**2))


def efficient_attention(size: int, channels: int) -> Cost:
    """N C (2 k + v) + 2 N k v + N v C with k = v = C / 2 and a single head."""
    inner = channels // 2
    weights = 4 * channels * inner
    return Cost(weights + 3 * inner + channels + 1, size**2 * (weights + 2 * inner**2))


def criss_cross_attention(size: int, channels: int) -> Cost:
    """Two passes of N C (2 c + C) + N (H + W) (c + C) with c = C / 8."""
    passes, inner = 2, channels // 8
    weights = channels * (2 * inner + channels)
    scores = size**2 * 2 * size
    multiply_adds = passes * (size**2 * weights + scores * (inner + channels))
    return Cost(weights + 2 * inner + channels + 1, multiply_adds, scores=scores)


def channel_attention(size: int, channels: int) -> Cost:
    """2 N C^2; sigma is the only parameter."""
    return Cost(1, 2 * size**2 * channels**2)


def em_attention(size: int, channels: int) -> Cost:
    """(2 T + 1) N C K + 2 N C^2 with T = 3 and K = 64; conv_in and the bases are not trained by gradients."""
    steps, bases = 3, 64
    multiply_adds = size**2 * channels * ((2 * steps + 1) * bases + 2 * channels)
    return Cost(channels**2 + 1, multiply_adds, untrained=channels**2 + channels + channels * bases)


def external_attention(size: int, channels: int) -> Cost:
    """2 N C S + 2 N C^2 with S = 64; conv_in has a bias."""
    weights = 2 * channels * 64 + 2 * channels**2
    return Cost(weights + channels + 1, size**2 * weights)


def global_context(size: int, channels: int) -> Cost:
    """2 N C + 2 C p with p = C / 4; layer normalisation has 2 p parameters."""
    width = channels // 4
    transform = 2 * channels * width
    return Cost(channels + 1 + transform + width + channels + 2 * width + 1, 2 * size**2 * channels + transform)


def pyramid_pooling(size: int, channels: int) -> Cost:
    """50 C c + N (C + 4 c) C with c = C / 4 and 1, 4, 9 and 36 cells; pooling and interpolation as dense products.

    These are N C 12 + W C 50 and N c 12 + H c 50, with the sums of the scales (12) and of their squares (50).
    """
    scales, width = (1, 2, 3, 6), channels // 4
    cells = sum(scale**2 for scale in scales)
    weights, project = channels * width, (channels + len(scales) * width) * channels
    resampling = (channels + width) * (size**2 * sum(scales) + size * cells)
    parameters = len(scales) * (weights + width) + project + 1
    return Cost(parameters, cells * weights + size**2 * project + resampling)


def squeeze_excitation(size: int, channels: int) -> Cost:
    """2 C^2 / 16, whatever the size, without biases."""
    weights = 2 * channels * (channels // 16)
    return Cost(weights + 1, weights)


def _ham_arguments(**settings: Any) -> Callable[[int], Mapping[str, Any]]:
    def arguments(channels: int) -> Mapping[str, Any]:
        # As published: every call draws new bases, so there is no weight for them.
        common = {"num_steps": NUM_STEPS, "evaluation_bases": "random", "seed": SEED}
        return {"latent_dim": channels, "rank": channels // RANK_DIVISOR, **common, **settings}

    return arguments


def _hamburger(ham: str) -> Variant:
    description = "V1, D = C, R = C / 8, K = 6, S = 1"
    arguments = _ham_arguments(ham=ham)
    return Variant("hamburger", "hams", f"Hamburger, {ham.upper()}", description, hamburger(ham), arguments)


def _segmentation_hamburger(version: str) -> Variant:
    shown = version.replace("plus", "+").upper()
    return Variant(
        "segmentation_hamburger",
        "hams",
        f"block of HamNet, {shown}",
        f"{shown} of HamNet without relu after the sum; NMF, D, R, K and S as above",
        segmentation_hamburger(version),
        _ham_arguments(version=version),
    )


def _non_local(mode: str, description: str) -> Variant:
    title = f"non-local block, {mode.replace('_', ' ').replace('gaussian', 'Gaussian')}"
    return Variant("non_local", "pairs", title, description, non_local(mode), lambda _: {"mode": mode})


VARIANTS = {
    "nmf": _hamburger("nmf"),
    "cd": _hamburger("cd"),
    "vq": _hamburger("vq"),
    **{f"segmentation_{version}": _segmentation_hamburger(version) for version in ("v1", "v2", "v2plus")},
    "self_attention": Variant(
        "self_attention",
        "pairs",
        "self-attention of SAGAN",
        "C / 8 channels, values C / 2; keys and values max-pooled 2x2",
        self_attention,
    ),
    "wide_attention": Variant(
        "multi_head_attention",
        "pairs",
        "self-attention of full width, no pooling",
        "one head; queries, keys and values of C channels",
        multi_head_attention(1),
        lambda _: {"num_heads": 1},
    ),
    "multi_head_attention": Variant(
        "multi_head_attention",
        "pairs",
        "multi-head attention",
        "8 heads of C / 8 channels",
        multi_head_attention(8),
    ),
    "non_local": _non_local("embedded_gaussian", "embedded Gaussian, C / 2 channels"),
    "non_local_gaussian": _non_local(
        "gaussian", "Gaussian: products of the inputs as scores, values of C / 2 channels"
    ),
    "non_local_dot_product": _non_local("dot_product", "dot product: no softmax, C / 2 channels"),
    "double_attention": Variant(
        "double_attention", "others", "double attention", "C / 4 features and C / 4 attention maps", double_attention
    ),
    "efficient_attention": Variant(
        "efficient_attention",
        "others",
        "efficient attention",
        "one head; keys and values of C / 2 channels",
        efficient_attention,
    ),
    "criss_cross_attention": Variant(
        "criss_cross_attention",
        "others",
        "criss-cross attention",
        "two passes; queries and keys of C / 8 channels, values of C",
        criss_cross_attention,
    ),
    "channel_attention": Variant(
        "channel_attention", "others", "channel attention", "C x C similarities of channels", channel_attention
    ),
    "em_attention": Variant(
        "em_attention",
        "others",
        "expectation-maximisation attention",
        "K = 64 bases, T = 3 iterations; conv_in is not trained",
        em_attention,
    ),
    "external_attention": Variant(
        "external_attention",
        "others",
        "external attention",
        "S = 64 memory slots, two convolutions",
        external_attention,
    ),
    "global_context": Variant(
        "global_context", "pooling", "global context", "attention pooling, C / 4 channels between", global_context
    ),
    "pyramid_pooling": Variant(
        "pyramid_pooling",
        "pooling",
        "pyramid pooling",
        "grids of 1, 2, 3 and 6 cells a side, C / 4 channels each",
        pyramid_pooling,
    ),
    "squeeze_excitation": Variant(
        "squeeze_excitation", "pooling", "squeeze-and-excitation", "C / 16 channels between", squeeze_excitation
    ),
}
"""The modules by the names that the results use, sorted by group."""


def needed_bytes(variant: str, size: int, channels: int, mode: str) -> int:
    """Returns an upper estimate of the memory that a call needs, from its scores and its feature map."""
    largest = VARIANTS[variant].cost(size, channels).scores + size**2 * channels
    return LIVE_COPIES[mode] * FLOAT_BYTES * largest


def build_layer(variant: str, channels: int) -> Any:
    """Returns the module, built for feature maps of any size.

    Raises:
        BenchmarkError: if the number of values in its weights differs from the formula.
    """
    from hamgan.networks.context import CONTEXT_MODULES

    entry = VARIANTS[variant]
    layer = CONTEXT_MODULES[entry.module](**entry.arguments(channels))
    layer.build((None, None, None, channels))

    def count(weights: list[Any]) -> int:
        # u holds the singular vectors.
        return sum(weight.shape.num_elements() for weight in (w.value for w in weights if w.name != "u"))

    found = (count(layer.trainable_weights), count(layer.non_trainable_weights))
    cost = entry.cost(size=1, channels=channels)
    if found != (cost.parameters, cost.untrained):
        raise benchmarking.BenchmarkError(
            f"expected {variant} to have {cost.parameters:,} trained and {cost.untrained:,} other values in its "
            f"weights, found {found[0]:,} and {found[1]:,}"
        )
    return layer
