"""Non-negative matrix factorisation by multiplicative updates."""

import tensorflow as tf

from hamgan.layers.activation import relu
from hamgan.layers.decomposition_inputs import checked_operands, in_float32, iteration_inputs

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
    """Approximates each example by non-negative matrix factorisation with multiplicative updates.

    Start: X <- relu(X), C = softmax_R(X^T A). K iterations: C <- C * (X^T A) / (C A^T A + eps), then
    A <- A * (X C) / (A C^T C + eps). Result: C is updated once more, and Y = A C^T. Only this last update is
    differentiated with the one-step gradient.

    Args:
        inputs: float tensor X of shape ``(batch, N, D)``. Half precision is computed in float32.
        initial_bases: non-negative tensor A of shape ``(batch, D, R)``.
        num_steps: number of iterations K.
        gradient: part of the computation that is differentiated: "one_step" (the last update of C) or "unrolled"
            (everything, including the softmax, as in SegNeXt's LightHamHead).
        rectify: whether to apply relu to the inputs; if False, they must be non-negative.
        normalize_bases: whether to L2-normalise the initial bases along D first, as in HamNet.

    Returns:
        The approximation Y, shape ``(batch, N, D)``. Gradients flow to ``inputs`` only.

    Raises:
        ValueError: if the shapes do not match, or ``gradient`` is unknown.

    Reference: Lee and Seung, Algorithms for Non-negative Matrix Factorization (NIPS 2000); Geng et al., Is Attention
    Better Than Matrix Decomposition? (ICLR 2021), section 2.2 and, for the one-step gradient, section 3.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.layers import nmf
        >>> inputs, bases = tf.random.uniform((2, 64, 16)), tf.random.uniform((2, 16, 4))
        >>> nmf(inputs, bases, num_steps=6).shape
        TensorShape([2, 64, 16])
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
    """Returns the result of :func:`nmf` and the final bases A, ``(batch, D, R)``, without checking shapes."""
    x = in_float32(inputs)
    if rectify:
        x = relu(x, stores_mask=True)
    constant, bases = iteration_inputs(x, initial_bases, gradient)
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
    # The last update is linear in X^T A, so the backward pass only needs this ratio.
    ratio = coefficients / _c_denominator(coefficients, bases)
    outputs = tf.matmul(ratio * tf.matmul(x, bases), bases, transpose_b=True)
    return tf.cast(outputs, inputs.dtype), bases


def _gram(matrix: tf.Tensor) -> tf.Tensor:
    return tf.matmul(matrix, matrix, transpose_a=True)


def _c_denominator(coefficients: tf.Tensor, bases: tf.Tensor) -> tf.Tensor:
    return tf.matmul(coefficients, _gram(bases)) + NMF_EPSILON
