"""Concept decomposition and vector quantisation, both by soft spherical k-means."""

import math
from typing import Any

import numpy as np
import tensorflow as tf

from hamgan.layers.custom_gradient import custom_gradient
from hamgan.layers.decomposition_inputs import checked_operands, in_float32, iteration_inputs

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
    """Approximates each example by ridge regression on the centroids of soft spherical k-means.

    K iterations: C = softmax_R(t x_hat^T A), C <- C / (eps + sum_N C), A <- l2n(X C). Result:
    C = X^T A (A^T A + ridge I)^-1 and Y = A C^T. x_hat is X L2-normalised along D. Norms are bounded from below by
    1e-6, so that centroids without nearby positions stay finite.

    Args:
        inputs: float tensor X of shape ``(batch, N, D)``. Half precision is computed in float32.
        initial_bases: tensor A of shape ``(batch, D, R)``, L2-normalised along D by this function.
        num_steps: number of iterations K.
        gradient: part of the computation that is differentiated: "one_step" (the regression) or "unrolled" (all
            iterations too).
        inverse_temperature: factor t of the scores inside the softmax.
        ridge: weight of the identity in the regression; 0.01 in HamGAN, 0.1 in HamNet.

    Returns:
        The approximation Y, shape ``(batch, N, D)``. Gradients flow to ``inputs`` only.

    Raises:
        ValueError: if the shapes do not match, or ``gradient`` is unknown.

    Reference: Dhillon and Modha, Concept Decompositions for Large Sparse Text Data using Clustering (Machine Learning
    2001); Geng et al., Is Attention Better Than Matrix Decomposition? (ICLR 2021), section 2.2.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.layers import concept_decomposition
        >>> inputs, bases = tf.random.normal((2, 64, 16)), tf.random.normal((2, 16, 4))
        >>> concept_decomposition(inputs, bases, num_steps=6).shape
        TensorShape([2, 64, 16])
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
    """Returns the result of :func:`concept_decomposition` and the final bases A, without checking shapes.

    Args:
        inputs: tensor X of shape ``(batch, N, D)``.
        initial_bases: tensor A of shape ``(batch, D, R)``.
        num_steps: number of iterations K.
        gradient: part of the computation that is differentiated.
        inverse_temperature: factor t of the scores inside the softmax.
        ridge: weight of the identity in the regression.
        by_products: whether to solve the regression by matrix products, which TFLite and ONNX support, instead of a
            Cholesky factorisation. The results agree up to rounding.
    """
    x = in_float32(inputs)
    constant, bases = iteration_inputs(x, initial_bases, gradient)
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
    """Approximates each example by soft assignment to the centroids of soft spherical k-means.

    K iterations: C = softmax_R(t x_hat^T A_hat), C <- C / (eps + sum_N C), A <- X C. Result:
    C = softmax_R(t (X / (eps + |X|))^T A_hat) and Y = A C^T. x_hat and A_hat are X and A L2-normalised along D. The
    result at each position is a weighted mean of centroids.

    The last C depends on the direction of a position, not on its norm, so its gradient is proportional to 1 / |X|.

    Args:
        inputs: float tensor X of shape ``(batch, N, D)``. Half precision is computed in float32.
        initial_bases: tensor A of shape ``(batch, D, R)``, L2-normalised along D by this function.
        num_steps: number of iterations K.
        gradient: part of the computation that is differentiated: "one_step" (the last assignment, with |X| as a
            constant) or "unrolled" (everything).
        inverse_temperature: factor t of the scores inside the softmax.

    Returns:
        The approximation Y, shape ``(batch, N, D)``. Gradients flow to ``inputs`` only.

    Raises:
        ValueError: if the shapes do not match, or ``gradient`` is unknown.

    Reference: Geng et al., Is Attention Better Than Matrix Decomposition? (ICLR 2021), section 2.2.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.layers import vector_quantization
        >>> inputs, bases = tf.random.normal((2, 64, 16)), tf.random.normal((2, 16, 4))
        >>> vector_quantization(inputs, bases, num_steps=6).shape
        TensorShape([2, 64, 16])
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
    """Returns the result of :func:`vector_quantization` and the final bases A, without checking shapes."""
    x = in_float32(inputs)
    constant, bases = iteration_inputs(x, initial_bases, gradient)
    squared_norms = _squared_norms(constant)
    k_means_scale = _k_means_scale(squared_norms, inverse_temperature)
    bases = directions = tf.math.l2_normalize(bases, axis=1)
    for _ in range(num_steps):
        bases = _k_means_step(constant, k_means_scale, directions)
        directions = tf.math.l2_normalize(bases, axis=1)
    # The floor keeps the derivative of the square root finite at zero, and changes no value.
    scale = inverse_temperature / (EPSILON + tf.sqrt(tf.maximum(squared_norms, SMALLEST_SQUARE)))
    outputs = tf.matmul(_softmax(scale * tf.matmul(x, directions)), bases, transpose_b=True)
    return tf.cast(outputs, inputs.dtype), bases


def _squared_norms(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.square(x), axis=-1, keepdims=True)


def _k_means_scale(squared_norms: tf.Tensor, inverse_temperature: float) -> tf.Tensor:
    """Returns t / |X|, shape ``(batch, N, 1)``; scaling X^T A avoids a normalised copy of X."""
    return inverse_temperature * tf.math.rsqrt(tf.maximum(squared_norms, EPSILON**2))


def _k_means_step(x: tf.Tensor, scale: tf.Tensor, directions: tf.Tensor) -> tf.Tensor:
    """Returns the centroids X C after one iteration of soft spherical k-means."""
    coefficients = tf.nn.softmax(scale * tf.matmul(x, directions))
    # Divides X C, which has D rows, instead of C, which has N.
    weights = EPSILON + tf.reduce_sum(coefficients, axis=1, keepdims=True)
    return tf.matmul(x, coefficients, transpose_a=True) / weights


@custom_gradient
def _softmax(scores: tf.Tensor) -> tuple[tf.Tensor, Any]:
    """Softmax with an accurate gradient if one coefficient is close to 1, as is usual at temperature 1/100.

    The gradient c * (g - c^T g) then suffers from cancellation. It does not change if a constant is subtracted from g;
    subtracting the g of the largest coefficient avoids the cancellation.
    """
    coefficients = tf.nn.softmax(scores)

    def grad(upstream: tf.Tensor) -> tf.Tensor:
        is_largest = coefficients >= tf.reduce_max(coefficients, axis=-1, keepdims=True)
        at_largest = tf.reduce_max(tf.where(is_largest, upstream, upstream.dtype.min), axis=-1, keepdims=True)
        centered = upstream - tf.stop_gradient(at_largest)
        return coefficients * (centered - tf.reduce_sum(coefficients * centered, axis=-1, keepdims=True))

    return coefficients, grad


def _solve(gram: tf.Tensor, bases: tf.Tensor) -> tf.Tensor:
    """Returns A (A^T A + ridge I)^-1, shape ``(batch, D, R)``."""
    factor = tf.linalg.cholesky(gram)
    return tf.linalg.matrix_transpose(tf.linalg.cholesky_solve(factor, tf.linalg.matrix_transpose(bases)))


def _solve_by_products(gram: tf.Tensor, bases: tf.Tensor, ridge: float) -> tf.Tensor:
    """Returns the result of :func:`_solve` by Newton-Schulz iteration and one step of iterative refinement.

    The columns of A have norms of at most 1, so the condition number of G = A^T A + ridge I is at most
    (R + ridge) / ridge. With Z = I / |G|_inf, the eigenvalues of I - Z G are in [0, 1 - 1 / condition], and each step
    squares them. The rounding error of Z is proportional to the condition number; the refinement removes it.
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
