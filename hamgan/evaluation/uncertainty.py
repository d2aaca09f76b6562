"""Dependence of scores on the sample of fakes and its size: bootstrap and extrapolation."""

from collections.abc import Iterator

import numpy as np

from hamgan.evaluation.fid import FrechetDistance, Moments
from hamgan.evaluation.inception_score import InceptionScoreSums, predictions
from hamgan.evaluation.row_blocks import check_matrix, row_blocks


def bootstrap_frechet_distance(
    distance: FrechetDistance, fake_pool_3: np.ndarray, *, resamples: int, seed: int
) -> float:
    """Returns the standard error of the FID over samples of fakes, by the bootstrap with fixed real features.

    The result is a standard error and not percentiles, because bootstrap FIDs lie above the FID: a resample has fewer
    distinct images, which increases the upward bias of FID. Their spread is hardly affected.

    Args:
        distance: distance to the real features.
        fake_pool_3: features, ``(n, width)``.
        resamples: number of resamples of n rows with replacement, at least 2.
        seed: seed of the resamples.

    Raises:
        ValueError: there are fewer than 2 resamples, or :class:`FrechetDistance` raises.

    Reference: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 6.
    """
    distances = []
    for weights in _resamples(len(fake_pool_3), resamples, seed):
        rows = np.flatnonzero(weights)
        distances.append(distance.fast(Moments.of(fake_pool_3, rows, weights[rows])))
    return float(np.std(distances, ddof=1))


def bootstrap_inception_score(logits: np.ndarray, *, resamples: int, seed: int) -> float:
    """Returns the standard error of the IS by the bootstrap. The logits are read once for all resamples.

    Args:
        logits: ``(n, classes)``.
        resamples: number of resamples of n rows with replacement, at least 2.
        seed: seed of the resamples, which are those of ``bootstrap_frechet_distance``.

    Raises:
        ValueError: there are fewer than 2 resamples, or no logits.

    Reference: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 6.
    """
    check_matrix("logits", logits)
    weights = np.stack(list(_resamples(len(logits), resamples, seed)))
    probabilities = np.zeros((resamples, logits.shape[1]))
    negative_entropies = np.zeros(resamples)
    for block in row_blocks(len(logits)):
        of_images, entropies_of_images = predictions(logits[block])
        share = weights[:, block].astype(np.float64)
        probabilities += share @ of_images
        negative_entropies += share @ entropies_of_images
    sums = zip(probabilities, negative_entropies, strict=True)
    return float(np.std([InceptionScoreSums(len(logits), *values).score for values in sums], ddof=1))


def _resamples(count: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yields, for each resample, the number of times that each row is drawn, shape ``(count,)``."""
    if resamples < 2:
        raise ValueError(f"expected at least 2 resamples, received {resamples}")
    if not count:
        raise ValueError("expected at least 1 row to resample, received none")
    for index in range(resamples):
        drawn = np.random.default_rng([seed, index]).integers(count, size=count)
        yield np.bincount(drawn, minlength=count).astype(np.int32)


def frechet_distance_infinity(
    distance: FrechetDistance, fake_pool_3: np.ndarray, *, seed: int, points: int = 15, smallest: int | None = None
) -> float:
    """Extrapolates FID to infinitely many fakes, by a line in 1/N, in which the bias of FID is nearly linear.

    The line is fitted by least squares to the FIDs of random subsets without replacement, with evenly spaced sizes from
    ``smallest`` to all. The bias due to the fixed set of real features remains.

    Args:
        distance: distance to the real features.
        fake_pool_3: features, ``(n, width)``.
        seed: seed of the subsets.
        points: number of sizes, at least 2.
        smallest: smallest size; by default a tenth of n, or width + 1 if that is larger and at most half of n. With
            fewer rows, the covariance has no full rank, and the bias is not linear in 1/N.

    Returns:
        The intercept, which may be a little below 0.

    Raises:
        ValueError: there are fewer than 2 points, or ``smallest`` is not from 2 to below n.

    Reference: Chong and Forsyth, Effectively Unbiased FID and Inception Score and where to find them (CVPR 2020),
    section 4, with 15 points from 5,000 to 50,000. They draw the fakes by a Sobol sequence.
    """
    check_matrix("features", fake_pool_3)
    count, width = fake_pool_3.shape
    if smallest is None:
        smallest = max(count // 10, min(width + 1, count // 2), 2)
    if points < 2:
        raise ValueError(f"expected at least 2 points, received {points}")
    if not 2 <= smallest < count:
        raise ValueError(f"expected a smallest size of at least 2 and less than {count} rows, received {smallest}")
    rng = np.random.default_rng(seed)
    sizes = np.linspace(smallest, count, points).astype(int)
    distances = []
    for size in sizes:
        # Sorted, they are read from disk in order.
        rows = np.sort(rng.choice(count, size, replace=False))
        distances.append(distance.fast(Moments.of(fake_pool_3, rows)))
    _, intercept = np.polyfit(1 / sizes, distances, 1)
    return float(intercept)
