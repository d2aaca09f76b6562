"""Matrix decompositions ("ham") with the one-step gradient: NMF, concept decomposition and vector quantisation.

The input X, N positions in a D-dimensional space, is approximated by R bases A times coefficients C: X ~ A C^T.
K iterations of an optimiser find A and C; the gradient treats them as constants and differentiates one last update
of the coefficients. It is a custom gradient in closed form, so nothing of the iterations is kept for the backward
pass and its cost does not depend on K. No intermediate result has more than N * max(D, R) elements an example.

Throughout, positions come before the latent dimension, ``(batch, N, D)``: the transpose of the paper's X, and how
feature maps lie in memory.

Reference: Geng et al., Is Attention Better Than Matrix Decomposition? (ICLR 2021), sections 2.2, 2.3 and 3.
"""

from typing import Any, ClassVar, Literal

import keras
import tensorflow as tf

from hamgan import random_streams
from hamgan.layers.gradients import custom_gradient

NMF_EPSILON = 1e-6
CD_EPSILON = 1e-6
CD_INVERSE_TEMPERATURE = 100.0
CD_RIDGE = 0.01
VQ_EPSILON = 1e-6


def _gram(matrix: tf.Tensor) -> tf.Tensor:
    return tf.matmul(matrix, matrix, transpose_a=True)


def _squared_norms(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.square(x), axis=-1, keepdims=True)


def _k_means_scale(squared_norms: tf.Tensor) -> tf.Tensor:
    """100 / |X|, shape ``(batch, N, 1)``: what takes X^T A to 100 x_hat^T A, without an x_hat that is as large as X."""
    return CD_INVERSE_TEMPERATURE * tf.math.rsqrt(tf.maximum(squared_norms, CD_EPSILON**2))


def _k_means_step(x: tf.Tensor, scale: tf.Tensor, directions: tf.Tensor) -> tf.Tensor:
    """One step of soft spherical k-means, from normalised bases to X C, the means of the positions near each."""
    coefficients = tf.nn.softmax(scale * tf.matmul(x, directions))
    # C / (eps + sum_N C), divided where there are D rows and not N.
    weights = CD_EPSILON + tf.reduce_sum(coefficients, axis=1, keepdims=True)
    return tf.matmul(x, coefficients, transpose_a=True) / weights


def nmf(inputs: tf.Tensor, initial_bases: tf.Tensor, *, num_steps: int) -> tf.Tensor:
    """Non-negative matrix factorisation by multiplicative updates (Lee and Seung).

    X <- relu(X), C = softmax_R(X^T A); K times C <- C * (X^T A) / (C A^T A + eps) and
    A <- A * (X C) / (A C^T C + eps); then, differentiably in X, once more C, and Y = A C^T.

    Args:
        inputs: shape ``(batch, N, D)``.
        initial_bases: non-negative, shape ``(batch, D, R)``.
        num_steps: K.

    Returns:
        The approximation, shape ``(batch, N, D)``. Only ``inputs`` receives a gradient.
    """

    @custom_gradient
    def one_step(x: tf.Tensor) -> tuple[tf.Tensor, Any]:
        # In eager mode an outer tape would record the iterations, custom gradient or not, and keep them alive.
        x, bases = tf.stop_gradient(x), tf.stop_gradient(initial_bases)
        positive = tf.nn.relu(x)
        scores = tf.matmul(positive, bases)
        coefficients = tf.nn.softmax(scores)
        for _ in range(num_steps):
            coefficients *= scores / (tf.matmul(coefficients, _gram(bases)) + NMF_EPSILON)
            bases *= tf.matmul(positive, coefficients, transpose_a=True) / (
                tf.matmul(bases, _gram(coefficients)) + NMF_EPSILON
            )
            scores = tf.matmul(positive, bases)
        # The last update is linear in X^T A, so this ratio is all that the backward pass needs of C.
        ratio = coefficients / (tf.matmul(coefficients, _gram(bases)) + NMF_EPSILON)
        outputs = tf.matmul(ratio * scores, bases, transpose_b=True)
        # And of X no more than this, a quarter of its size.
        is_positive = x > 0

        def grad(upstream: tf.Tensor) -> tf.Tensor:
            downstream = tf.matmul(ratio * tf.matmul(upstream, bases), bases, transpose_b=True)
            return tf.where(is_positive, downstream, tf.zeros_like(downstream))

        return outputs, grad

    return one_step(inputs)


def concept_decomposition(inputs: tf.Tensor, initial_bases: tf.Tensor, *, num_steps: int) -> tf.Tensor:
    """Concept decomposition: soft spherical k-means, then ridge regression on its centroids.

    K times C = softmax_R(100 x_hat^T A), C <- C / (eps + sum_N C), A <- l2n(X C); then, differentiably in X,
    C = X^T A (A^T A + 0.01 I)^-1 and Y = A C^T. Norms are at least 1e-6: a basis that no position is near stays finite.

    Args:
        inputs: shape ``(batch, N, D)``.
        initial_bases: shape ``(batch, D, R)``; normalised along D here.
        num_steps: K.

    Returns:
        The approximation, shape ``(batch, N, D)``. Only ``inputs`` receives a gradient.
    """

    @custom_gradient
    def one_step(x: tf.Tensor) -> tuple[tf.Tensor, Any]:
        x, bases = tf.stop_gradient(x), tf.stop_gradient(initial_bases)
        scale = _k_means_scale(_squared_norms(x))
        bases = tf.math.l2_normalize(bases, axis=1)
        for _ in range(num_steps):
            bases = tf.math.l2_normalize(_k_means_step(x, scale, bases), axis=1)
        rank = bases.shape[-1]
        factor = tf.linalg.cholesky(_gram(bases) + CD_RIDGE * tf.eye(rank, dtype=x.dtype))
        # A (A^T A + ridge)^-1, shape (batch, D, R).
        dual = tf.linalg.matrix_transpose(tf.linalg.cholesky_solve(factor, tf.linalg.matrix_transpose(bases)))

        def project(y: tf.Tensor) -> tf.Tensor:
            return tf.matmul(tf.matmul(y, dual), bases, transpose_b=True)

        # Y = A (A^T A + ridge)^-1 A^T X is linear and symmetric in X: the backward pass is the forward one.
        return project(x), project

    return one_step(inputs)


def vector_quantization(inputs: tf.Tensor, initial_bases: tf.Tensor, *, num_steps: int) -> tf.Tensor:
    """Vector quantisation: soft spherical k-means, then soft assignment to its centroids.

    A_hat is A L2-normalised along D. K times C = softmax_R(100 x_hat^T A_hat), C <- C / (eps + sum_N C), A <- X C;
    then, differentiably in X with |X| a constant, C = softmax_R(100 (X / (eps + |X|))^T A_hat) and Y = A C^T. Bases are
    as long as the positions near them, and what comes out at a position is a weighted mean of bases.

    Args:
        inputs: shape ``(batch, N, D)``.
        initial_bases: shape ``(batch, D, R)``; normalised along D here.
        num_steps: K.

    Returns:
        The approximation, shape ``(batch, N, D)``. Only ``inputs`` receives a gradient.

    The gradient at a position grows as 1 / |X|: the last C depends on where a position points, not on how far.
    """

    @custom_gradient
    def one_step(x: tf.Tensor) -> tuple[tf.Tensor, Any]:
        x, bases = tf.stop_gradient(x), tf.stop_gradient(initial_bases)
        squared_norms = _squared_norms(x)
        k_means_scale = _k_means_scale(squared_norms)
        bases = directions = tf.math.l2_normalize(bases, axis=1)
        for _ in range(num_steps):
            bases = _k_means_step(x, k_means_scale, directions)
            directions = tf.math.l2_normalize(bases, axis=1)
        scale = CD_INVERSE_TEMPERATURE / (VQ_EPSILON + tf.sqrt(squared_norms))
        coefficients = tf.nn.softmax(scale * tf.matmul(x, directions))
        outputs = tf.matmul(coefficients, bases, transpose_b=True)

        def grad(upstream: tf.Tensor) -> tf.Tensor:
            to_coefficients = tf.matmul(upstream, bases)
            mean = tf.reduce_sum(coefficients * to_coefficients, axis=-1, keepdims=True)
            to_scores = coefficients * (to_coefficients - mean)
            return tf.matmul(scale * to_scores, directions, transpose_b=True)

        return outputs, grad

    return one_step(inputs)


class MatrixDecomposition(keras.Layer):
    """Base of the hams: ``(batch, N, D)`` to its approximation of rank R, same shape.

    Args:
        rank: R, the number of bases.
        num_steps: K, the iterations of the inner optimiser.
        seed: of the stream that initial bases are drawn from when a call brings none.

    The computation is in the policy's variable dtype, float32 also with mixed_bfloat16: its denominators need it.
    """

    initial_distribution: ClassVar[Literal["uniform", "normal"]]

    def __init__(self, *, rank: int, num_steps: int = 6, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if rank < 1 or num_steps < 0:
            raise ValueError(f"rank must be positive and num_steps not negative, received {rank} and {num_steps}")
        self.rank = rank
        self.num_steps = num_steps
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Checks the input's shape; there are no weights."""
        if len(input_shape) != 3 or input_shape[-1] is None:
            raise ValueError(
                f"{self.name} expects (batch, positions, latent_dim) with latent_dim known, received {input_shape}"
            )

    def call(self, inputs: tf.Tensor, initial_bases: tf.Tensor | None = None) -> tf.Tensor:
        """Approximates ``inputs``.

        Args:
            inputs: shape ``(batch, N, D)``.
            initial_bases: shape ``(batch, D, R)``; drawn from the layer's own stream if absent.
        """
        if initial_bases is None:
            initial_bases = self.draw_bases(tf.shape(inputs)[0], inputs.shape[-1])
        outputs = self.decompose(tf.cast(inputs, self.variable_dtype), tf.cast(initial_bases, self.variable_dtype))
        return tf.cast(outputs, inputs.dtype)

    def draw_bases(self, batch: tf.Tensor | int, latent_dim: int) -> tf.Tensor:
        """Draws fresh initial bases, shape ``(batch, latent_dim, rank)``, from the layer's own stream."""
        key = tf.cast(self.seed_generator.next(), tf.int32)
        return random_streams.draw(self.initial_distribution, key, first=0, count=batch, shape=(latent_dim, self.rank))

    def decompose(self, inputs: tf.Tensor, initial_bases: tf.Tensor) -> tf.Tensor:
        """The decomposition itself."""
        raise TypeError(f"{type(self).__name__} must define decompose()")

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...], *_: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        """Returns the input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "rank": self.rank, "num_steps": self.num_steps, "seed": self.seed}


@keras.saving.register_keras_serializable(package="hamgan")
class NMF(MatrixDecomposition):
    """Non-negative matrix factorisation; initial bases uniform in [0, 1). See :func:`nmf`."""

    initial_distribution = "uniform"

    def decompose(self, inputs: tf.Tensor, initial_bases: tf.Tensor) -> tf.Tensor:
        """See :func:`nmf`."""
        return nmf(inputs, initial_bases, num_steps=self.num_steps)


@keras.saving.register_keras_serializable(package="hamgan")
class ConceptDecomposition(MatrixDecomposition):
    """Concept decomposition; initial bases standard normal, then normalised. See :func:`concept_decomposition`."""

    initial_distribution = "normal"

    def decompose(self, inputs: tf.Tensor, initial_bases: tf.Tensor) -> tf.Tensor:
        """See :func:`concept_decomposition`."""
        return concept_decomposition(inputs, initial_bases, num_steps=self.num_steps)


@keras.saving.register_keras_serializable(package="hamgan")
class VectorQuantization(MatrixDecomposition):
    """Vector quantisation; initial bases standard normal, then normalised. See :func:`vector_quantization`."""

    initial_distribution = "normal"

    def decompose(self, inputs: tf.Tensor, initial_bases: tf.Tensor) -> tf.Tensor:
        """See :func:`vector_quantization`."""
        return vector_quantization(inputs, initial_bases, num_steps=self.num_steps)


HAMS: dict[str, type[MatrixDecomposition]] = {"nmf": NMF, "cd": ConceptDecomposition, "vq": VectorQuantization}
