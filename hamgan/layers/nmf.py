"""Non-negative matrix factorisation by multiplicative updates."""

from typing import Any

import tensorflow as tf

from hamgan.layers.gradients import custom_gradient
from hamgan.layers.one_step import checked_operands, constants, in_float32

NMF_EPSILON = 1e-6
NORM_EPSILON = 1e-12


def nmf(
    inputs: tf.Tensor,
    initial_bases: tf.Tensor,
    *,
    num_steps: int,
    gradient: str = "one_step",
    rectify: bool = True,
    normalize_bases: bool = False,
) -> tf.Tensor:
    """Non-negative matrix factorisation by multiplicative updates (Lee and Seung).

    X <- relu(X), C = softmax_R(X^T A); K times C <- C * (X^T A) / (C A^T A + eps) and
    A <- A * (X C) / (A C^T C + eps); then, differentiably in X, once more C, and Y = A C^T.

    Args:
        inputs: float, shape ``(batch, N, D)``. Half precision is computed in float32.
        initial_bases: non-negative, shape ``(batch, D, R)``.
        num_steps: number of iterations K.
        gradient: "one_step" (the last update of C alone) or "unrolled" (all iterations, softmax included, as in
            SegNeXt's LightHamHead).
        rectify: whether relu is applied to the inputs; without it they must not be negative.
        normalize_bases: whether the initial bases are L2-normalised along D first (as in HamNet).

    Returns:
        The approximation, shape ``(batch, N, D)``. Only ``inputs`` receives a gradient.

    Raises:
        ValueError: the shapes do not fit, or an unknown gradient.
    """
    inputs, initial_bases = checked_operands(inputs, initial_bases)
    return nmf_and_bases(
        inputs,
        initial_bases,
        num_steps=num_steps,
        gradient=gradient,
        rectify=rectify,
        normalize_bases=normalize_bases,
    )[0]


def nmf_and_bases(
    inputs: tf.Tensor,
    initial_bases: tf.Tensor,
    *,
    num_steps: int,
    gradient: str,
    rectify: bool,
    normalize_bases: bool,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the approximation of :func:`nmf` and the final bases A, ``(batch, D, R)``; checks no shapes."""
    x = in_float32(inputs)
    if rectify:
        x = _rectified(x)
    constant, bases = constants(x, initial_bases, gradient)
    if normalize_bases:
        bases = tf.math.l2_normalize(bases, axis=1, epsilon=NORM_EPSILON**2)
    scores = tf.matmul(constant, bases)
    coefficients = tf.nn.softmax(scores)
    for step in range(num_steps):
        if step > 0:
            scores = tf.matmul(constant, bases)
        coefficients *= scores / _c_denominator(coefficients, bases)
        bases *= tf.matmul(constant, coefficients, transpose_a=True) / (
            tf.matmul(bases, _gram(coefficients)) + NMF_EPSILON
        )
    # The last update is linear in X^T A, so this ratio is all that the backward pass needs of C.
    ratio = coefficients / _c_denominator(coefficients, bases)
    outputs = tf.matmul(ratio * tf.matmul(x, bases), bases, transpose_b=True)
    return tf.cast(outputs, inputs.dtype), bases


def _gram(matrix: tf.Tensor) -> tf.Tensor:
    return tf.matmul(matrix, matrix, transpose_a=True)


def _c_denominator(coefficients: tf.Tensor, bases: tf.Tensor) -> tf.Tensor:
    return tf.matmul(coefficients, _gram(bases)) + NMF_EPSILON


@custom_gradient
def _rectified(x: tf.Tensor) -> tuple[tf.Tensor, Any]:
    """relu, whose backward pass keeps where X is positive: a quarter of its size."""
    x = tf.stop_gradient(x)
    is_positive = x > 0

    def grad(upstream: tf.Tensor) -> tf.Tensor:
        return tf.where(is_positive, upstream, tf.zeros_like(upstream))

    return tf.nn.relu(x), grad
