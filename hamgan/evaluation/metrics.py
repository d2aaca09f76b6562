"""Scores of a classifier's features and logits, in float64, by blocks of rows: the arrays may lie on disk.

FID and KID are TF-GAN's functions. Streamed here is what TF-GAN has no form of that is bounded in memory: moments, the
Inception Score, and FIDs within classes.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from hamgan import tfgan

_BLOCK_ROWS = 4096
"""At width 2,048 one block in float64 is 64 MiB."""

_SMALLEST_ROOTED = 1e-10
"""Below it TF-GAN leaves an eigenvalue as it is, in place of the square root of what may be rounding."""


@dataclasses.dataclass(frozen=True, eq=False)
class Moments:
    """Count, mean and scatter of features, all that FID needs of them; moments of shares of the data merge.

    Args:
        count: number of rows.
        mean: float64, ``(width,)``.
        scatter: sum of ``(x - mean)(x - mean)^T``, float64, ``(width, width)``.
    """

    count: int
    mean: np.ndarray
    scatter: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray, rows: np.ndarray | None = None, weights: np.ndarray | None = None) -> "Moments":
        """Returns the moments of features, summed in float64 over blocks of rows.

        Args:
            features: ``(n, width)``, in memory or an ``np.memmap``.
            rows: indices of the rows to take, ``(m,)``; all by default.
            weights: how often each row taken counts, integers, ``(m,)``; once by default.

        Raises:
            ValueError: ``features`` is no matrix, or ``weights`` has another length than the rows taken.
        """
        check_matrix("features", features)
        taken = len(features) if rows is None else len(rows)
        if weights is not None and np.shape(weights) != (taken,):
            raise ValueError(f"a weight for each of {taken} rows is expected, received the shape {np.shape(weights)}")
        width = features.shape[1]
        total = cls(0, np.zeros(width), np.zeros((width, width)))
        for block in row_blocks(taken):
            share = np.array(features[block if rows is None else rows[block]], np.float64)
            total = total.merge(cls._of_block(share, None if weights is None else weights[block]))
        return total

    @classmethod
    def _of_block(cls, block: np.ndarray, weights: np.ndarray | None) -> "Moments":
        """``block`` is overwritten."""
        if weights is None:
            count = len(block)
            mean = block.mean(axis=0)
            block -= mean
        else:
            count = int(weights.sum())
            mean = weights @ block / max(count, 1)
            block -= mean
            block *= np.sqrt(weights)[:, np.newaxis]
        return cls(count, mean, block.T @ block)

    def merge(self, other: "Moments") -> "Moments":
        """Returns the moments of both shares together.

        Reference: Chan, Golub, LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample Variances
        (Stanford, STAN-CS-79-773, 1979).
        """
        count = self.count + other.count
        difference = other.mean - self.mean
        share = other.count / max(count, 1)
        between = np.outer(difference, self.count * share * difference)
        between += self.scatter
        between += other.scatter
        return Moments(count, self.mean + share * difference, between)

    @property
    def covariance(self) -> np.ndarray:
        """The unbiased covariance, ``(width, width)``; a ValueError for fewer than 2 rows."""
        if self.count < 2:
            raise ValueError(f"a covariance takes at least 2 rows, received {self.count}")
        return self.scatter / (self.count - 1)


def frechet_distance(real: Moments, fake: Moments) -> float:
    """FID, ``|m - m_w|^2 + tr(C + C_w - 2 (C C_w)^(1/2))``, of two moments; 0 for equal means and covariances.

    The trace of the root is TF-GAN's ``trace_sqrt_product``, in float64.

    Raises:
        ValueError: the widths differ, or a side has fewer than 2 rows.

    Reference: Heusel et al., GANs Trained by a Two Time-Scale Update Rule (NeurIPS 2017), section 4.
    """
    _check_widths(real, fake)
    covariance, fake_covariance = real.covariance, fake.covariance
    root = float(tfgan.trace_sqrt_product(tf.constant(covariance), tf.constant(fake_covariance)))
    return _frechet_distance(real.mean - fake.mean, np.trace(covariance) + np.trace(fake_covariance), root)


def frechet_inception_distance(real_pool_3: np.ndarray, fake_pool_3: np.ndarray) -> float:
    """FID of two sets of features, ``(n, width)`` each: ``frechet_distance`` of their moments."""
    return frechet_distance(Moments.of(real_pool_3), Moments.of(fake_pool_3))


class FrechetDistanceTo:
    """FID against the same real features, many times.

    ``tr (C C_w)^(1/2)`` is the sum of the roots of the eigenvalues of ``C^(1/2) C_w C^(1/2)``; the first root is taken
    once, and symmetric eigenvalues take a fraction of the time of TF-GAN's singular values, which they equal. TF-GAN's
    rule for eigenvalues near 0 is kept.

    Args:
        real: moments of the real features.

    Raises:
        ValueError: there are fewer than 2 rows.
    """

    def __init__(self, real: Moments) -> None:
        covariance = real.covariance
        values, vectors = np.linalg.eigh(covariance)
        self.real = real
        self._trace = np.trace(covariance)
        self._root = (vectors * _roots(values)) @ vectors.T

    def __call__(self, fake: Moments) -> float:
        """Returns the FID of fake features' moments; raises as ``frechet_distance`` does."""
        _check_widths(self.real, fake)
        covariance = fake.covariance
        root = _roots(np.linalg.eigvalsh(self._root @ covariance @ self._root)).sum()
        return _frechet_distance(self.real.mean - fake.mean, self._trace + np.trace(covariance), root)


def _roots(eigenvalues: np.ndarray) -> np.ndarray:
    """Roots of the eigenvalues of a positive semi-definite matrix, by TF-GAN's rule near 0."""
    eigenvalues = np.maximum(eigenvalues, 0)
    return np.where(eigenvalues < _SMALLEST_ROOTED, eigenvalues, np.sqrt(eigenvalues))


def _frechet_distance(mean_difference: np.ndarray, traces: float, trace_of_root: float) -> float:
    return float(mean_difference @ mean_difference + traces - 2 * trace_of_root)


@dataclasses.dataclass(frozen=True, eq=False)
class InceptionScoreSums:
    """All that the Inception Score needs of logits; sums over shares of the data merge.

    Args:
        count: number of images.
        probabilities: sum of ``p``, float64, ``(classes,)``.
        negative_entropy: sum of ``p log p`` over images and classes, in nats.
    """

    count: int
    probabilities: np.ndarray
    negative_entropy: float

    @classmethod
    def of(cls, logits: np.ndarray) -> "InceptionScoreSums":
        """Returns the sums over logits, ``(n, classes)``, taken in float64 over blocks of rows."""
        check_matrix("logits", logits)
        total = cls(0, np.zeros(logits.shape[1]), 0.0)
        for block in row_blocks(len(logits)):
            probabilities, negative_entropies = predictions(logits[block])
            total = total.merge(cls(len(probabilities), probabilities.sum(axis=0), negative_entropies.sum()))
        return total

    def merge(self, other: "InceptionScoreSums") -> "InceptionScoreSums":
        """Returns the sums over both shares together."""
        return InceptionScoreSums(
            self.count + other.count,
            self.probabilities + other.probabilities,
            self.negative_entropy + other.negative_entropy,
        )

    @property
    def score(self) -> float:
        """``exp(mean of (sum of p log p) - sum of q log q)``, q the mean of p; a ValueError for no image."""
        if not self.count:
            raise ValueError("the Inception Score takes at least 1 image, received none")
        mean = self.probabilities / self.count
        # A class whose probability underflows for every image adds 0, where TF-GAN's 0 * log 0 is not a number.
        mean = mean[mean > 0]
        return float(np.exp(self.negative_entropy / self.count - mean @ np.log(mean)))


def inception_score(logits: np.ndarray) -> float:
    """IS of logits ``(n, classes)``, over the whole sample; from 1 to the number of classes.

    Equals TF-GAN's ``classifier_score_from_logits`` in float64, in bounded memory.

    Raises:
        ValueError: ``logits`` is no matrix or has no row.

    Reference: Salimans et al., Improved Techniques for Training GANs (NeurIPS 2016), section 4. They average over ten
    splits; this, as TF-GAN, takes the whole sample.
    """
    return InceptionScoreSums.of(logits).score


def predictions(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns p, ``(n, classes)``, and the sum of p log p of each image, ``(n,)``, in float64."""
    log_probabilities = np.array(logits, np.float64)
    log_probabilities -= log_probabilities.max(axis=1, keepdims=True)
    log_probabilities -= np.log(np.exp(log_probabilities).sum(axis=1, keepdims=True))
    probabilities = np.exp(log_probabilities)
    return probabilities, np.einsum("ij,ij->i", probabilities, log_probabilities)


def kernel_inception_distance(
    real_pool_3: np.ndarray, fake_pool_3: np.ndarray, max_block_size: int = 1024
) -> tuple[float, float | None]:
    """KID, the unbiased squared maximum mean discrepancy with kernel ``(x^T y / width + 1)^3``, and its standard error.

    TF-GAN's function, handed one pair of blocks at a time in float64, with TF-GAN's own division into blocks: the mean
    over ``ceil(max(n, m) / max_block_size)`` pairs of near equal size. Rows are expected in random order.

    Args:
        real_pool_3: features, ``(n, width)``.
        fake_pool_3: features, ``(m, width)``.
        max_block_size: most rows of one side in a block.

    Returns:
        The distance, which may be a little below 0, and the standard error over blocks, None for a single block.

    Raises:
        ValueError: the widths differ, or the smaller side has fewer than 2 rows for each block.

    Reference: Binkowski et al., Demystifying MMD GANs (ICLR 2018), section 4; blocks as in Zaremba et al., B-tests
    (NeurIPS 2013), where the former draw random subsets.
    """
    check_matrix("real features", real_pool_3)
    check_matrix("fake features", fake_pool_3)
    if real_pool_3.shape[1] != fake_pool_3.shape[1]:
        raise ValueError(f"equal widths are expected, received {real_pool_3.shape[1]} and {fake_pool_3.shape[1]}")
    blocks = max(-(-max(len(real_pool_3), len(fake_pool_3)) // max_block_size), 1)
    if min(len(real_pool_3), len(fake_pool_3)) < 2 * blocks:
        raise ValueError(
            f"at least 2 rows of either side in each of {blocks} blocks are expected, received {len(real_pool_3)} and "
            f"{len(fake_pool_3)} rows in blocks of at most {max_block_size}"
        )
    distances = []
    for real_rows, fake_rows in zip(
        _kernel_blocks(len(real_pool_3), blocks), _kernel_blocks(len(fake_pool_3), blocks), strict=True
    ):
        distance, _ = tfgan.kernel_classifier_distance_and_std_from_activations(
            tf.constant(real_pool_3[real_rows], tf.float64),
            tf.constant(fake_pool_3[fake_rows], tf.float64),
            max_block_size=max_block_size,
        )
        distances.append(float(distance))
    error = float(np.std(distances, ddof=1) / np.sqrt(blocks)) if blocks > 1 else None
    return float(np.mean(distances)), error


def _kernel_blocks(count: int, blocks: int) -> Iterator[slice]:
    """TF-GAN's division: the last ``count % blocks`` blocks have one row more."""
    size, longer = divmod(count, blocks)
    first = 0
    for index in range(blocks):
        last = first + size + (index >= blocks - longer)
        yield slice(first, last)
        first = last


def intra_class_frechet_distances(
    real_pool_3: np.ndarray,
    real_labels: np.ndarray,
    fake_pool_3: np.ndarray,
    fake_labels: np.ndarray,
    classes: Sequence[int],
) -> dict[int, float]:
    """FID within each of some classes.

    Args:
        real_pool_3: features, ``(n, width)``.
        real_labels: integers, ``(n,)``.
        fake_pool_3: features, ``(m, width)``.
        fake_labels: integers, ``(m,)``.
        classes: labels of the classes.

    Returns:
        The distance of each class.

    Raises:
        ValueError: a class has fewer than 2 images on either side, or labels are not one for each row.

    Reference: Miyato and Koyama, cGANs with Projection Discriminator (ICLR 2018), section 4.
    """
    for name, features, labels in (("real", real_pool_3, real_labels), ("fake", fake_pool_3, fake_labels)):
        check_matrix(f"{name} features", features)
        if np.shape(labels) != (len(features),):
            raise ValueError(f"a label for each of {len(features)} {name} rows expected, received {np.shape(labels)}")
    distances = {}
    for label in classes:
        real_rows, fake_rows = np.flatnonzero(real_labels == label), np.flatnonzero(fake_labels == label)
        if min(len(real_rows), len(fake_rows)) < 2:
            raise ValueError(
                f"class {label} is expected to have at least 2 images on either side, received {len(real_rows)} real "
                f"and {len(fake_rows)} fake"
            )
        if max(len(real_rows), len(fake_rows)) <= real_pool_3.shape[1]:
            distances[label] = _frechet_distance_of_few(real_pool_3[real_rows], fake_pool_3[fake_rows])
        else:
            distance = FrechetDistanceTo(Moments.of(real_pool_3, real_rows))
            distances[label] = distance(Moments.of(fake_pool_3, fake_rows))
    return distances


def _frechet_distance_of_few(real: np.ndarray, fake: np.ndarray) -> float:
    """FID of features with fewer rows than columns, from matrices as small as the rows are few.

    With X and Y the centred features over the root of the degrees of freedom, ``C = X^T X`` and ``C_w = Y^T Y``; then
    ``tr (C C_w)^(1/2)`` is the sum of the singular values of ``X Y^T``. No root is taken of what is 0 but for rounding.
    """
    if real.shape[1] != fake.shape[1]:
        raise ValueError(f"equal widths are expected, received {real.shape[1]} and {fake.shape[1]}")
    centred, means = [], []
    for features in (real, fake):
        features = np.array(features, np.float64)
        means.append(features.mean(axis=0))
        centred.append((features - means[-1]) / np.sqrt(len(features) - 1))
    root = np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum()
    return _frechet_distance(means[0] - means[1], np.sum(centred[0] ** 2) + np.sum(centred[1] ** 2), root)


def class_conditional_accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Share, in [0, 1], of the images that the classifier assigns to the label asked for."""
    return float(np.mean(np.argmax(logits, axis=1) == labels))


def all_finite(array: np.ndarray) -> bool:
    """Whether all elements of an array, ``(rows, ...)``, are finite numbers."""
    return all(bool(np.isfinite(array[block]).all()) for block in row_blocks(len(array)))


def row_blocks(count: int) -> Iterator[slice]:
    """Yields slices of rows that are small enough to be held in float64."""
    for first in range(0, count, _BLOCK_ROWS):
        yield slice(first, min(first + _BLOCK_ROWS, count))


def check_matrix(name: str, array: np.ndarray) -> None:
    """Raises ValueError if an array is no matrix."""
    if np.ndim(array) != 2:
        raise ValueError(f"{name} of shape (rows, columns) are expected, received the shape {np.shape(array)}")


def _check_widths(real: Moments, fake: Moments) -> None:
    if len(real.mean) != len(fake.mean):
        raise ValueError(f"equal widths are expected, received {len(real.mean)} and {len(fake.mean)}")
