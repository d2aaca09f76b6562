"""The modules that context.py compares, and their parameters and multiply-adds by formula."""

import dataclasses
from typing import Any

import benchmarking

HAMS = ("nmf", "cd", "vq")
NUM_STEPS = 6
RANK_DIVISOR = 8
FLOAT_BYTES = 4
LIVE_COPIES = {"inference": 2, "training": 4}
"""Matrices of queries by keys in memory at once: scores and softmax; in training also the gradients of both."""
SEED = 0


@dataclasses.dataclass(frozen=True)
class Attention:
    """An attention module: key and value widths as divisors of C, and positions per key."""

    key_divisor: int
    value_divisor: int
    pooling: int


ATTENTIONS = {
    "self_attention": Attention(8, 2, 4),
    "attention": Attention(8, 2, 1),
    "wide_attention": Attention(1, 1, 1),
}
VARIANTS = (*HAMS, *ATTENTIONS)


def parameters(variant: str, channels: int) -> int:
    """Returns the number of trainable parameters.

    Hamburger V1: two breads of C D each, and sigma. Attention: queries and keys of C C_k each, values and output of
    C C_v each, and sigma.
    """
    if variant in HAMS:
        return 2 * channels * channels + 1
    key_dim, value_dim = _widths(variant, channels)
    return 2 * channels * key_dim + 2 * channels * value_dim + 1


def singular_vector_entries(variant: str, channels: int) -> int:
    """Returns the number of non-trainable values: the singular vector of each convolution, one entry per input."""
    if variant in HAMS:
        return 2 * channels
    return 3 * channels + _widths(variant, channels)[1]


def multiply_adds(variant: str, positions: int, channels: int) -> int:
    """Returns the multiply-adds of one forward pass, without elementwise functions and spectral norms.

    Hamburger V1: N C D for each bread, and :func:`ham_multiply_adds`. Attention: N for each weight of the convolutions,
    N M C_k for the scores, and N M C_v for the weighted sums over M keys.
    """
    convolutions = positions * (parameters(variant, channels) - 1)
    if variant in HAMS:
        return convolutions + ham_multiply_adds(variant, positions, channels)
    keys = positions // ATTENTIONS[variant].pooling
    return convolutions + positions * keys * sum(_widths(variant, channels))


def ham_multiply_adds(ham: str, positions: int, latent_dim: int) -> int:
    """Returns the multiply-adds of a decomposition: K steps, the final update and the reconstruction.

    Each step computes X^T A and X C, N D R each; the end adds X^T A and A C^T. NMF also computes C (A^T A) in K + 1
    updates of C and A (C^T C) in K updates of A: (2 K + 1) (N + D) R^2 with the products of R by R. The regression of
    CD computes A^T A and solves R equations for D right-hand sides, D R^2 each, with a Cholesky factor of R^3 / 6.
    (Evaluation replaces the Cholesky factor by about 20 products of R by R, which are equally negligible.)
    """
    rank = latent_dim // RANK_DIVISOR
    products = (2 * NUM_STEPS + 2) * positions * latent_dim * rank
    if ham == "nmf":
        return products + (2 * NUM_STEPS + 1) * (positions + latent_dim) * rank**2
    if ham == "cd":
        return products + 2 * latent_dim * rank**2 + rank**3 // 6
    return products


def attention_bytes(variant: str, positions: int, mode: str) -> int:
    """Returns the peak size of the matrices of queries by keys; 0 for Hamburger."""
    if variant in HAMS:
        return 0
    return LIVE_COPIES[mode] * FLOAT_BYTES * positions * (positions // ATTENTIONS[variant].pooling)


def _widths(variant: str, channels: int) -> tuple[int, int]:
    attention = ATTENTIONS[variant]
    return channels // attention.key_divisor, channels // attention.value_divisor


def build_layer(variant: str, channels: int) -> Any:
    """Returns the module, built for feature maps of any size.

    Raises:
        BenchmarkError: if the number of parameters differs from the formula.
    """
    import keras
    import tensorflow as tf

    from hamgan.layers import Hamburger, SelfAttention, SNConv2D

    class DotProductAttention(keras.Layer):
        """``x + sigma * attend(softmax(theta(x) phi(x)^T) g(x))``, with every position attending to every position."""

        def build(self, input_shape: tuple[int | None, ...]) -> None:
            key_dim, value_dim = _widths(variant, channels)

            def conv(inputs: int, outputs: int) -> SNConv2D:
                layer = SNConv2D(outputs, 1, use_bias=False, norm_floor=0.0)
                layer.build((None, None, None, inputs))
                return layer

            self.theta, self.phi = conv(channels, key_dim), conv(channels, key_dim)
            self.g, self.attend = conv(channels, value_dim), conv(value_dim, channels)
            self.sigma = self.add_weight(name="sigma", shape=(), initializer="zeros")

        def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
            shape = tf.shape(inputs)

            def positions(features: tf.Tensor) -> tf.Tensor:
                return tf.reshape(features, (shape[0], -1, features.shape[-1]))

            queries = positions(self.theta(inputs, training=training))
            keys = positions(self.phi(inputs, training=training))
            values = positions(self.g(inputs, training=training))
            context = tf.matmul(tf.nn.softmax(tf.matmul(queries, keys, transpose_b=True)), values)
            context = tf.reshape(context, (*tf.unstack(shape[:3]), values.shape[-1]))
            return inputs + self.sigma * self.attend(context, training=training)

    if variant in HAMS:
        # As published: every call draws new bases, so there is no weight for them.
        settings: dict[str, Any] = {"num_steps": NUM_STEPS, "evaluation_bases": "random", "seed": SEED}
        layer = Hamburger(channels, channels // RANK_DIVISOR, ham=variant, **settings)
    else:
        layer = SelfAttention() if ATTENTIONS[variant].pooling > 1 else DotProductAttention()
    layer.build((None, None, None, channels))
    expected = parameters(variant, channels) + singular_vector_entries(variant, channels)
    if layer.count_params() != expected:
        raise benchmarking.BenchmarkError(
            f"expected {variant} to have {expected:,} values in its weights, found {layer.count_params():,}"
        )
    return layer
