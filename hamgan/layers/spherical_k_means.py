"""Concept decomposition and vector quantisation: soft spherical k-means with two different last steps."""

import math
from typing import Any

import numpy as np
import tensorflow as tf

from hamgan.layers.gradients import custom_gradient
from hamgan.layers.one_step import checked_operands, constants, in_float32

EPSILON = 1e-6
INVERSE_TEMPERATURE = 100.0
RIDGE = 0.01
SMALLEST_SQUARE = 1e-30


def concept_decomposition(
    inputs: tf.Tensor,
    initial_bases: tf.Tensor,
    *,
    num_steps: int,
    gradient: str = "one_step",
    inverse_temperature: float = INVERSE_TEMPERATURE,
    ridge: float = RIDGE,
) -> tf.Tensor:
    """Concept decomposition: soft spherical k-means, then ridge regression on its centroids.

    K times C = softmax_R(t x_hat^T A), C <- C / (eps + sum_N C), A <- l2n(X C); then, differentiably in X,
    C = X^T A (A^T A + ridge I)^-1 and Y = A C^T. Norms are at least 1e-6, so that a basis that no position is near
    stays finite.

    Args:
        inputs: float, shape ``(batch, N, D)``. Half precision is computed in float32.
        initial_bases: shape ``(batch, D, R)``; normalised along D here.
        num_steps: number of iterations K.
        gradient: "one_step" (the last step alone) or "unrolled" (all iterations).
        inverse_temperature: factor t of the scores inside the softmax.
        ridge: weight of the identity in the regression (0.01 in HamGAN, 0.1 in HamNet).

    Returns:
        The approximation, shape ``(batch, N, D)``. Only ``inputs`` receives a gradient.

    Raises:
        ValueError: the shapes do not fit, or an unknown gradient.
    """
    inputs, initial_bases = checked_operands(inputs, initial_bases)
    return concept_decomposition_and_bases(
        inputs,
        initial_bases,
        num_steps=num_steps,
        gradient=gradient,
        inverse_temperature=inverse_temperature,
        ridge=ridge,
        by_products=False,
    )[0]


def concept_decomposition_and_bases(
    inputs: tf.Tensor,
    initial_bases: tf.Tensor,
    *,
    num_steps: int,
    gradient: str,
    inverse_temperature: float,
    ridge: float,
    by_products: bool,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the result of :func:`concept_decomposition` and the final bases A, ``(batch, D, R)``.

    Args:
        inputs: see there; no shapes are checked here.
        initial_bases: see there.
        num_steps: see there.
        gradient: see there.
        inverse_temperature: see there.
        ridge: see there.
        by_products: whether the regression is solved by matrix products alone, which TFLite and ONNX have, and not by
            a Cholesky factorisation. The results agree to rounding.
    """
    x = in_float32(inputs)
    constant, bases = constants(x, initial_bases, gradient)
    scale = _k_means_scale(_squared_norms(constant), inverse_temperature)
    bases = tf.math.l2_normalize(bases, axis=1)
    for _ in range(num_steps):
        bases = tf.math.l2_normalize(_k_means_step(constant, scale, bases), axis=1)
    gram = tf.matmul(bases, bases, transpose_a=True) + ridge * tf.eye(bases.shape[-1], dtype=x.dtype)
    dual = _solve_by_products(gram, bases, ridge) if by_products else _solve(gram, bases)
    outputs = tf.matmul(tf.matmul(x, dual), bases, transpose_b=True)
    return tf.cast(outputs, inputs.dtype), bases


def vector_quantization(
    inputs: tf.Tensor,
    initial_bases: tf.Tensor,
    *,
    num_steps: int,
    gradient: str = "one_step",
    inverse_temperature: float = INVERSE_TEMPERATURE,
) -> tf.Tensor:
    """Vector quantisation: soft spherical k-means, then soft assignment to its centroids.

    A_hat is A L2-normalised along D. K times C = softmax_R(t x_hat^T A_hat), C <- C / (eps + sum_N C), A <- X C;
    then, differentiably in X with |X| a constant, C = softmax_R(t (X / (eps + |X|))^T A_hat) and Y = A C^T. Bases are
    as long as the positions near them, and the result at a position is a weighted mean of bases.

    Args:
        inputs: float, shape ``(batch, N, D)``. Half precision is computed in float32.
        initial_bases: shape ``(batch, D, R)``; normalised along D here.
        num_steps: number of iterations K.
        gradient: "one_step" (the last step alone) or "unrolled" (all iterations, and |X|).
        inverse_temperature: factor t of the scores inside the softmax.

    Returns:
        The approximation, shape ``(batch, N, D)``. Only ``inputs`` receives a gradient.

    Raises:
        ValueError: the shapes do not fit, or an unknown gradient.

    The gradient at a position grows as 1 / |X|: the last C depends on where a position points, not on how far.
    """
    inputs, initial_bases = checked_operands(inputs, initial_bases)
    return vector_quantization_and_bases(
        inputs,
        initial_bases,
        num_steps=num_steps,
        gradient=gradient,
        inverse_temperature=inverse_temperature,
    )[0]


def vector_quantization_and_bases(
    inputs: tf.Tensor,
    initial_bases: tf.Tensor,
    *,
    num_steps: int,
    gradient: str,
    inverse_temperature: float,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the result of :func:`vector_quantization` and the final bases A, ``(batch, D, R)``; checks no shapes."""
    x = in_float32(inputs)
    constant, bases = constants(x, initial_bases, gradient)
    squared_norms = _squared_norms(constant)
    k_means_scale = _k_means_scale(squared_norms, inverse_temperature)
    bases = directions = tf.math.l2_normalize(bases, axis=1)
    for _ in range(num_steps):
        bases = _k_means_step(constant, k_means_scale, directions)
        directions = tf.math.l2_normalize(bases, axis=1)
    # The floor changes no value; it keeps the root's derivative finite where X is zero.
    scale = inverse_temperature / (EPSILON + tf.sqrt(tf.maximum(squared_norms, SMALLEST_SQUARE)))
    outputs = tf.matmul(_softmax(scale * tf.matmul(x, directions)), bases, transpose_b=True)
    return tf.cast(outputs, inputs.dtype), bases


def _squared_norms(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.square(x), axis=-1, keepdims=True)


def _k_means_scale(squared_norms: tf.Tensor, inverse_temperature: float) -> tf.Tensor:
    """t / |X|, shape ``(batch, N, 1)``: what takes X^T A to t x_hat^T A, without an x_hat that is as large as X."""
    return inverse_temperature * tf.math.rsqrt(tf.maximum(squared_norms, EPSILON**2))


def _k_means_step(x: tf.Tensor, scale: tf.Tensor, directions: tf.Tensor) -> tf.Tensor:
    """One step of soft spherical k-means, from normalised bases to X C, the means of the positions near each."""
    coefficients = tf.nn.softmax(scale * tf.matmul(x, directions))
    # C / (eps + sum_N C), divided where there are D rows and not N.
    weights = EPSILON + tf.reduce_sum(coefficients, axis=1, keepdims=True)
    return tf.matmul(x, coefficients, transpose_a=True) / weights


@custom_gradient
def _softmax(scores: tf.Tensor) -> tuple[tf.Tensor, Any]:
    """Softmax with an accurate gradient where one coefficient is nearly 1, as they are at a temperature of 1/100.

    In c * (g - c^T g) equal numbers cancel there. A constant added to g changes nothing, and with the one that takes g
    to 0 at the largest coefficient the small numbers that remain are exact.
    """
    coefficients = tf.nn.softmax(scores)

    def grad(upstream: tf.Tensor) -> tf.Tensor:
        is_largest = coefficients >= tf.reduce_max(coefficients, axis=-1, keepdims=True)
        at_largest = tf.reduce_max(tf.where(is_largest, upstream, upstream.dtype.min), axis=-1, keepdims=True)
        centered = upstream - tf.stop_gradient(at_largest)
        return coefficients * (centered - tf.reduce_sum(coefficients * centered, axis=-1, keepdims=True))

    return coefficients, grad


def _solve(gram: tf.Tensor, bases: tf.Tensor) -> tf.Tensor:
    """A (A^T A + ridge I)^-1, shape ``(batch, D, R)``."""
    factor = tf.linalg.cholesky(gram)
    return tf.linalg.matrix_transpose(tf.linalg.cholesky_solve(factor, tf.linalg.matrix_transpose(bases)))


def _solve_by_products(gram: tf.Tensor, bases: tf.Tensor, ridge: float) -> tf.Tensor:
    """What :func:`_solve` returns, by Newton-Schulz iteration and one step of iterative refinement.

    G = A^T A + ridge I. As the columns of A are no longer than 1, its condition number is at most (R + ridge) / ridge,
    and with Z = I / |G|_inf the eigenvalues of I - Z G are in [0, 1 - 1 / condition]; each step squares them. Rounding
    leaves an error of Z in proportion to the condition number, which the refinement removes from the result.
    """
    rank = bases.shape[-1]
    condition = (rank + ridge) / ridge
    num_steps = math.ceil(math.log2(condition * -math.log(np.finfo(gram.dtype.as_numpy_dtype).eps)))
    identity = tf.eye(rank, dtype=gram.dtype)
    inverse = identity / tf.reduce_max(tf.reduce_sum(tf.abs(gram), axis=-1, keepdims=True), axis=-2, keepdims=True)
    for _ in range(num_steps):
        inverse += tf.matmul(inverse, identity - tf.matmul(gram, inverse))
    dual = tf.matmul(bases, inverse)
    return dual + tf.matmul(bases - tf.matmul(dual, gram), inverse)
