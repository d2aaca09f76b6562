"""Fréchet Inception Distance in float64, from features in memory or on disk.

TF-GAN's function computes the reported FID. To compare one set of real features with many sets of fakes (bootstrap,
extrapolation), symmetric eigenvalues give the same number in a fraction of the time.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from hamgan import tfgan
from hamgan.evaluation.row_blocks import check_matrix, row_blocks

_SMALLEST_ROOTED = 1e-10
"""TF-GAN takes no square root of smaller eigenvalues, because they may be rounding errors."""


@dataclasses.dataclass(frozen=True, eq=False)
class Moments:
    """Count, mean and scatter of features, which determine FID. Moments of parts of the data can be merged.

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
        """Returns the moments of features, computed block by block in float64.

        Args:
            features: features, ``(n, width)``, in memory or an ``np.memmap``.
            rows: indices of the rows to use, ``(m,)``; by default, all.
            weights: number of times that each of these rows counts, integers, ``(m,)``; by default, 1.

        Raises:
            ValueError: ``features`` is not a matrix, or the length of ``weights`` is not the number of rows used.
        """
        check_matrix("features", features)
        taken = len(features) if rows is None else len(rows)
        if weights is not None and np.shape(weights) != (taken,):
            raise ValueError(f"expected weights of shape ({taken},), received shape {np.shape(weights)}")
        width = features.shape[1]
        total = cls(0, np.zeros(width), np.zeros((width, width)))
        for block in row_blocks(taken):
            share = np.array(features[block if rows is None else rows[block]], np.float64)
            total = total.merge(cls._of_block(share, None if weights is None else weights[block]))
        return total

    @classmethod
    def _of_block(cls, block: np.ndarray, weights: np.ndarray | None) -> "Moments":
        """Returns the moments of a block of rows, which is overwritten."""
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
        """Returns the moments of both parts.

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
        """Unbiased covariance, ``(width, width)``.

        Raises:
            ValueError: there are fewer than 2 rows.
        """
        if self.count < 2:
            raise ValueError(f"expected at least 2 rows for a covariance, received {self.count}")
        return self.scatter / (self.count - 1)


class Gaussian(NamedTuple):
    """Mean, float64, ``(width,)``, and covariance, float64, ``(width, width)``: all that FID depends on."""

    mean: np.ndarray
    covariance: np.ndarray


class FrechetDistance:
    """Computes FID to one set of real features, ``|m - m_w|^2 + tr(C + C_w - 2 (C C_w)^(1/2))``.

    Args:
        real: moments, or mean and covariance, of the real features.

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

    def __init__(self, real: Moments | Gaussian) -> None:
        self.real = real
        self._covariance = real.covariance

    def __call__(self, fake: Moments | Gaussian) -> float:
        """Returns the FID of fakes, with TF-GAN's ``trace_sqrt_product``.

        Raises:
            ValueError: the widths differ, or there are fewer than 2 rows.
        """
        _check_widths(self.real, fake)
        covariance = fake.covariance
        root = float(tfgan.trace_sqrt_product(tf.constant(self._covariance), tf.constant(covariance)))
        return _distance(self.real.mean - fake.mean, np.trace(self._covariance) + np.trace(covariance), root)

    def fast(self, fake: Moments) -> float:
        """Returns the FID of fakes from symmetric eigenvalues. This is faster for many sets of fakes.

        ``tr (C C_w)^(1/2)`` is the sum of the square roots of the eigenvalues of ``C^(1/2) C_w C^(1/2)``, and
        ``C^(1/2)`` is computed only once. Eigenvalues near 0 are treated as in TF-GAN.

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
    """Computes FID between two sets of features; see :class:`FrechetDistance`.

    Args:
        real_pool_3: features of real images, ``(n, width)``.
        fake_pool_3: features of fakes, ``(m, width)``.

    Returns:
        The distance.

    Raises:
        ValueError: the widths differ, or a set has fewer than 2 rows.

    Example:
        >>> import numpy as np
        >>> from hamgan.evaluation.fid import frechet_inception_distance
        >>> features = np.random.default_rng(0).normal(size=(200, 5))
        >>> round(frechet_inception_distance(features, features + 2), 6)
        20.0
    """
    return FrechetDistance(Moments.of(real_pool_3))(Moments.of(fake_pool_3))


def _roots(eigenvalues: np.ndarray) -> np.ndarray:
    """Returns the square roots of eigenvalues of a positive semi-definite matrix, with TF-GAN's rule near 0."""
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
    """Computes FID within each of the given classes.

    Args:
        real_pool_3: features of real images, ``(n, width)``.
        real_labels: labels of real images, integers, ``(n,)``.
        fake_pool_3: features of fakes, ``(m, width)``.
        fake_labels: labels of fakes, integers, ``(m,)``.
        classes: labels of the classes.

    Returns:
        The distance by class.

    Raises:
        ValueError: a class has fewer than 2 real or 2 fake images, or the number of labels is not the number of rows.

    Reference: Miyato and Koyama, cGANs with Projection Discriminator (ICLR 2018), section 4.
    """
    for name, features, labels in (("real", real_pool_3, real_labels), ("fake", fake_pool_3, fake_labels)):
        check_matrix(f"{name} features", features)
        if np.shape(labels) != (len(features),):
            raise ValueError(f"expected {name} labels of shape ({len(features)},), received shape {np.shape(labels)}")
    distances = {}
    for label in classes:
        real_rows, fake_rows = np.flatnonzero(real_labels == label), np.flatnonzero(fake_labels == label)
        if min(len(real_rows), len(fake_rows)) < 2:
            raise ValueError(
                f"expected at least 2 real and 2 fake images of class {label}, received {len(real_rows)} real and "
                f"{len(fake_rows)} fake"
            )
        if max(len(real_rows), len(fake_rows)) <= real_pool_3.shape[1]:
            distances[label] = _distance_of_few_rows(real_pool_3[real_rows], fake_pool_3[fake_rows])
        else:
            distance = FrechetDistance(Moments.of(real_pool_3, real_rows))
            distances[label] = distance.fast(Moments.of(fake_pool_3, fake_rows))
    return distances


def _distance_of_few_rows(real: np.ndarray, fake: np.ndarray) -> float:
    """Returns the FID of features with fewer rows than columns, from a matrix with only as many rows and columns.

    Let X and Y be the centred features, divided by the root of the degrees of freedom: ``C = X^T X``, ``C_w = Y^T Y``.
    Then ``tr (C C_w)^(1/2)`` is the sum of the singular values of ``X Y^T``, without square roots of rounding errors.
    """
    if real.shape[1] != fake.shape[1]:
        raise ValueError(f"expected features of equal width, received {real.shape[1]} and {fake.shape[1]}")
    centred, means = [], []
    for features in (real, fake):
        features = np.array(features, np.float64)
        means.append(features.mean(axis=0))
        centred.append((features - means[-1]) / np.sqrt(len(features) - 1))
    root = np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum()
    return _distance(means[0] - means[1], np.sum(centred[0] ** 2) + np.sum(centred[1] ** 2), root)


def _check_widths(real: Moments | Gaussian, fake: Moments | Gaussian) -> None:
    if len(real.mean) != len(fake.mean):
        raise ValueError(f"expected features of equal width, received {len(real.mean)} and {len(fake.mean)}")
