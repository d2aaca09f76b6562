"""Fréchet Inception Distance, in float64, from features that may lie on disk.

The headline number is TF-GAN's function. Where one set of real features is compared with many sets of fakes (bootstrap,
extrapolation, classes), symmetric eigenvalues give the same number in a fraction of the time.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from hamgan import tfgan
from hamgan.evaluation.row_blocks import check_matrix, row_blocks

_SMALLEST_ROOTED = 1e-10
"""TF-GAN keeps an eigenvalue below this as it is, because its square root may be rounding."""


@dataclasses.dataclass(frozen=True, eq=False)
class Moments:
    """Count, mean and scatter of features, which is all that FID needs. Moments of parts of the data can be merged.

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
        """Returns the moments of both parts together.

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
        """The unbiased covariance, ``(width, width)``.

        Raises:
            ValueError: there are fewer than 2 rows.
        """
        if self.count < 2:
            raise ValueError(f"a covariance takes at least 2 rows, received {self.count}")
        return self.scatter / (self.count - 1)


class FrechetDistance:
    """FID to one set of real features: ``|m - m_w|^2 + tr(C + C_w - 2 (C C_w)^(1/2))``.

    Args:
        real: moments of the real features.

    Raises:
        ValueError: there are fewer than 2 rows.

    Reference: Heusel et al., GANs Trained by a Two Time-Scale Update Rule (NeurIPS 2017), section 4.

    Example:
        >>> import numpy as np
        >>> from hamgan.evaluation.fid import FrechetDistance, Moments
        >>> features = np.random.default_rng(0).normal(size=(200, 5))
        >>> distance = FrechetDistance(Moments.of(features))
        >>> round(distance(Moments.of(features + 2)), 6)
        20.0
    """

    def __init__(self, real: Moments) -> None:
        self.real = real
        self._covariance = real.covariance

    def __call__(self, fake: Moments) -> float:
        """Returns the FID of fakes by TF-GAN's ``trace_sqrt_product``.

        Raises:
            ValueError: the widths differ, or there are fewer than 2 rows.
        """
        _check_widths(self.real, fake)
        covariance = fake.covariance
        root = float(tfgan.trace_sqrt_product(tf.constant(self._covariance), tf.constant(covariance)))
        return _distance(self.real.mean - fake.mean, np.trace(self._covariance) + np.trace(covariance), root)

    def fast(self, fake: Moments) -> float:
        """Returns the same by symmetric eigenvalues: for many fakes, since the first square root is computed once.

        ``tr (C C_w)^(1/2)`` is the sum of the square roots of the eigenvalues of ``C^(1/2) C_w C^(1/2)``. TF-GAN's rule
        for eigenvalues near 0 is kept.

        Raises:
            ValueError: the widths differ, or there are fewer than 2 rows.
        """
        _check_widths(self.real, fake)
        covariance = fake.covariance
        root = _roots(np.linalg.eigvalsh(self._root @ covariance @ self._root)).sum()
        return _distance(self.real.mean - fake.mean, np.trace(self._covariance) + np.trace(covariance), root)

    @functools.cached_property
    def _root(self) -> np.ndarray:
        values, vectors = np.linalg.eigh(self._covariance)
        return (vectors * _roots(values)) @ vectors.T


def frechet_inception_distance(real_pool_3: np.ndarray, fake_pool_3: np.ndarray) -> float:
    """Returns the FID of two sets of features, ``(n, width)`` each; see :class:`FrechetDistance`."""
    return FrechetDistance(Moments.of(real_pool_3))(Moments.of(fake_pool_3))


def _roots(eigenvalues: np.ndarray) -> np.ndarray:
    """Roots of the eigenvalues of a positive semi-definite matrix, by TF-GAN's rule near 0."""
    eigenvalues = np.maximum(eigenvalues, 0)
    return np.where(eigenvalues < _SMALLEST_ROOTED, eigenvalues, np.sqrt(eigenvalues))


def _distance(mean_difference: np.ndarray, traces: float, trace_of_root: float) -> float:
    return float(mean_difference @ mean_difference + traces - 2 * trace_of_root)


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
            distances[label] = _distance_of_few_rows(real_pool_3[real_rows], fake_pool_3[fake_rows])
        else:
            distance = FrechetDistance(Moments.of(real_pool_3, real_rows))
            distances[label] = distance.fast(Moments.of(fake_pool_3, fake_rows))
    return distances


def _distance_of_few_rows(real: np.ndarray, fake: np.ndarray) -> float:
    """FID of features with fewer rows than columns, from matrices as small as the rows are few.

    With X and Y the centred features over the root of the degrees of freedom, ``C = X^T X`` and ``C_w = Y^T Y``; then
    ``tr (C C_w)^(1/2)`` is the sum of the singular values of ``X Y^T``. This avoids square roots of rounding errors.
    """
    if real.shape[1] != fake.shape[1]:
        raise ValueError(f"equal widths are expected, received {real.shape[1]} and {fake.shape[1]}")
    centred, means = [], []
    for features in (real, fake):
        features = np.array(features, np.float64)
        means.append(features.mean(axis=0))
        centred.append((features - means[-1]) / np.sqrt(len(features) - 1))
    root = np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum()
    return _distance(means[0] - means[1], np.sum(centred[0] ** 2) + np.sum(centred[1] ** 2), root)


def _check_widths(real: Moments, fake: Moments) -> None:
    if len(real.mean) != len(fake.mean):
        raise ValueError(f"equal widths are expected, received {len(real.mean)} and {len(fake.mean)}")
