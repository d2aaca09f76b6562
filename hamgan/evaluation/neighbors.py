"""Fidelity and variety of fakes, measured separately by nearest neighbours in feature space."""

import dataclasses
import hashlib
from collections.abc import Iterator

import numpy as np

BLOCK_ROWS = 2048
"""Rows of a block: distances between two blocks are 32 MiB."""

DIRECT_ELEMENTS = 1 << 22
"""Elements of features held at once while distances of single pairs are computed."""


PRECISION_NEIGHBORS = 3
DENSITY_NEIGHBORS = 5


def precision_recall_density_coverage(
    real: np.ndarray,
    fake: np.ndarray,
    *,
    precision_neighbors: int = PRECISION_NEIGHBORS,
    density_neighbors: int = DENSITY_NEIGHBORS,
) -> dict[str, float]:
    """Computes precision, recall, density and coverage of fake features.

    The ball of a point reaches to its k-th nearest neighbour in its own set, not counting the point itself, and
    includes its boundary. Precision is the fraction of fakes inside the ball of any real point, recall the fraction of
    real points inside the ball of any fake. Density is the mean number of real balls that contain a fake, divided by k.
    Coverage is the fraction of real balls that contain any fake.

    Ties: a fake at exactly the radius of a ball, such as a copy of the neighbour that defines the radius, is on its
    boundary. For precision, recall and coverage, it counts as inside. For density, all balls with the fake in their
    interior count; balls with the fake on their boundary count only until the total is k. Otherwise, where many real
    points coincide, a fake at the same place would be inside all of their balls of radius 0. If all features are equal,
    all four scores are 1.

    Distances come from float64 differences, so that duplicates and collapsed fakes are scored exactly. Memory is
    bounded; time grows with the square of the number of rows.

    Args:
        real: ``(n, width)``, in memory or an ``np.memmap``.
        fake: ``(m, width)``.
        precision_neighbors: k of precision and recall.
        density_neighbors: k of density and coverage.

    Returns:
        ``precision``, ``recall`` and ``coverage``, in [0, 1], and ``density``, which can exceed 1.

    Raises:
        ValueError: a k is below 1, a set has no more points than neighbours, the widths differ, or a feature is not
            finite.

    Reference: Kynkäänniemi et al., Improved Precision and Recall Metric for Assessing Generative Models (NeurIPS 2019),
    and Naeem et al., Reliable Fidelity and Diversity Metrics for Generative Models (ICML 2020). Their code excludes the
    boundary of the balls: without ties, the numbers are equal.

    Example:
        >>> import numpy as np
        >>> from hamgan.evaluation.neighbors import precision_recall_density_coverage
        >>> features = np.random.default_rng(0).normal(size=(200, 5))
        >>> scores = precision_recall_density_coverage(features, 0.5 * features)
        >>> scores["precision"], scores["recall"]
        (1.0, 0.355)
    """
    if min(precision_neighbors, density_neighbors) < 1:
        raise ValueError(f"expected at least 1 neighbour, received {precision_neighbors} and {density_neighbors}")
    if np.ndim(real) != 2 or np.ndim(fake) != 2 or real.shape[1] != fake.shape[1]:
        raise ValueError(f"expected two matrices of equal width, received shapes {np.shape(real)} and {np.shape(fake)}")
    most = max(precision_neighbors, density_neighbors)
    for name, features, neighbors in (("real", real, most), ("fake", fake, precision_neighbors)):
        if len(features) <= neighbors:
            raise ValueError(f"expected more than {neighbors} {name} points, received {len(features)}")
    reals, fakes = _distinct(real), _distinct(fake)
    real_nearest = _nearest_squared_distances(reals, most)
    precision_radii, density_radii = real_nearest[:, precision_neighbors - 1], real_nearest[:, density_neighbors - 1]
    recall_radii = _nearest_squared_distances(fakes, precision_neighbors)[:, -1]

    centre = reals.mean()
    precise, recalled = np.zeros(len(fakes.rows), bool), np.zeros(len(reals.rows), bool)
    interiors, balls = np.zeros(len(fakes.rows), np.int64), np.zeros(len(fakes.rows), np.int64)
    covered = np.zeros(len(reals.rows), bool)
    for real_block in _blocks(len(reals.rows)):
        points = _Block(reals, reals.rows[real_block], centre)
        for fake_block in _blocks(len(fakes.rows)):
            distances = _Distances(points, _Block(fakes, fakes.rows[fake_block], centre))
            precise[fake_block] |= distances.within(precision_radii[real_block, np.newaxis]).any(axis=0)
            recalled[real_block] |= distances.within(recall_radii[np.newaxis, fake_block]).any(axis=1)
            inside, interior = distances.within_and_below(density_radii[real_block, np.newaxis])
            balls[fake_block] += reals.copies[real_block] @ inside
            interiors[fake_block] += reals.copies[real_block] @ interior
            covered[real_block] |= inside.any(axis=1)
    return {
        "precision": float(fakes.copies[precise].sum() / len(fake)),
        "recall": float(reals.copies[recalled].sum() / len(real)),
        "density": float(
            fakes.copies @ np.maximum(interiors, np.minimum(balls, density_neighbors)) / (density_neighbors * len(fake))
        ),
        "coverage": float(reals.copies[covered].sum() / len(real)),
    }


def nearest_neighbors(queries: np.ndarray, references: np.ndarray, neighbors: int) -> tuple[np.ndarray, np.ndarray]:
    """Finds the nearest references of each query, by Euclidean distance.

    Distances come from float64 differences. Memory is bounded, and features may be an ``np.memmap``.

    Args:
        queries: features, shape ``(n, width)``.
        references: features, shape ``(m, width)``.
        neighbors: number k of neighbours of each query.

    Returns:
        Distances, float64, and indices of references, int64, both of shape ``(n, k)`` and nearest first. Of equally
        distant references, the one with the lower index comes first.

    Raises:
        ValueError: the widths differ, k is below 1 or above m, or a feature is not finite.

    Example:
        >>> import numpy as np
        >>> from hamgan.evaluation.neighbors import nearest_neighbors
        >>> distances, indices = nearest_neighbors(np.array([[0.9]]), np.array([[0.0], [1.0], [3.0]]), 2)
        >>> indices.tolist(), distances.round(1).tolist()
        ([[1, 0]], [[0.1, 0.9]])
    """
    if np.ndim(queries) != 2 or np.ndim(references) != 2 or queries.shape[1] != references.shape[1]:
        raise ValueError(
            f"expected two matrices of equal width, received shapes {np.shape(queries)} and {np.shape(references)}"
        )
    if not 1 <= neighbors <= len(references):
        raise ValueError(f"expected 1 to {len(references)} neighbours, received {neighbors}")
    query_points, reference_points = (
        _Points(features, np.arange(len(features)), np.ones(len(features), np.int64))
        for features in (queries, references)
    )
    centre = reference_points.mean()
    if not (np.isfinite(centre).all() and np.isfinite(query_points.mean()).all()):
        raise ValueError("expected finite features, received infinity or NaN")
    squared = np.full((len(queries), neighbors), np.inf)
    indices = np.full((len(queries), neighbors), -1, np.int64)
    for query_block in _blocks(len(queries)):
        block_queries = _Block(query_points, query_points.rows[query_block], centre)
        for block in _blocks(len(references)):
            distances = _Distances(block_queries, _Block(reference_points, reference_points.rows[block], centre))
            limit = squared[query_block, -1]
            if distances.upper.shape[1] > neighbors:
                limit = np.minimum(limit, np.partition(distances.upper, neighbors - 1, axis=1)[:, neighbors - 1])
            rows, columns = np.nonzero(distances.lower <= limit[:, np.newaxis])
            _insert(
                squared[query_block], rows, distances.exact(rows, columns), indices[query_block], columns + block.start
            )
    return np.sqrt(squared), indices


@dataclasses.dataclass(frozen=True, eq=False)
class _Points:
    """The distinct rows of a set, and how often each occurs: all pairs of many duplicates would be near ties."""

    features: np.ndarray
    rows: np.ndarray
    copies: np.ndarray

    def mean(self) -> np.ndarray:
        """Of the distinct rows: all that matters is that it lies among them."""
        total = np.zeros(self.features.shape[1])
        for block in _blocks(len(self.rows)):
            total += np.asarray(self.features[self.rows[block]], np.float64).sum(axis=0)
        return total / len(self.rows)


def _distinct(features: np.ndarray) -> _Points:
    first: dict[bytes, int] = {}
    copies = np.zeros(len(features), np.int64)
    for block in _blocks(len(features)):
        values = np.asarray(features[block], np.float64)
        if not np.isfinite(values).all():
            raise ValueError("expected finite features, received infinity or NaN")
        for index, row in enumerate(values, block.start):
            copies[first.setdefault(hashlib.blake2b(row.tobytes(), digest_size=16).digest(), index)] += 1
    rows = np.flatnonzero(copies)
    return _Points(features, rows, copies[rows])


class _Block:
    """Some rows of a set, as they are and less a centre, with the squared norms of the latter."""

    def __init__(self, points: _Points, rows: np.ndarray, centre: np.ndarray) -> None:
        self.features = points.features[rows]
        self.centred = self.features - centre
        self.squared_norms = np.einsum("ij,ij->i", self.centred, self.centred)


class _Distances:
    """Squared distances between two blocks: all as bounds from one matrix product, single ones from the differences.

    With u the unit roundoff and s = |x|^2 + |y|^2, ``|x|^2 + |y|^2 - 2 x.y`` of width w is wrong by at most (w + w) u s
    for the norms and twice the product, 4 u s for the centring and a few for the sums; the differences, whose result
    decides, are wrong by at most (w + 2) u |x - y|^2 <= (2 w + 4) u s. Where the sum of these leaves a comparison open
    the differences are taken. Ties are no rarity: a fake that is a copy of the real neighbour that made a radius.
    """

    def __init__(self, one: _Block, other: _Block) -> None:
        self._one, self._other = one.features, other.features
        scale = one.squared_norms[:, np.newaxis] + other.squared_norms
        self.lower = one.centred @ other.centred.T
        self.lower *= -2
        self.lower += scale
        scale *= 2 * (self._one.shape[1] + 16) * np.finfo(np.float64).eps
        self.upper = self.lower + scale
        self.lower -= scale

    def exact(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Returns the squared distances of single pairs, summed over differences in float64."""
        squared = np.empty(len(rows))
        step = max(DIRECT_ELEMENTS // self._one.shape[1], 1)
        for first in range(0, len(rows), step):
            pairs = slice(first, first + step)
            difference = self._one[rows[pairs]].astype(np.float64)
            difference -= self._other[columns[pairs]]
            difference *= difference
            squared[pairs] = difference.sum(axis=1)
        return squared

    def within(self, squared_radii: np.ndarray) -> np.ndarray:
        """Returns where the distance is at most the radius; ``squared_radii`` is a row or a column."""
        return self.within_and_below(squared_radii)[0]

    def within_and_below(self, squared_radii: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns where the distance is at most the radius, and where it is smaller."""
        below = self.upper < squared_radii
        within = below.copy()
        rows, columns = np.nonzero((self.lower <= squared_radii) & ~below)
        if len(rows):
            radii = np.broadcast_to(squared_radii, below.shape)[rows, columns]
            exact = self.exact(rows, columns)
            within[rows, columns] = exact <= radii
            below[rows, columns] = exact < radii
        return within, below


def _nearest_squared_distances(points: _Points, neighbors: int) -> np.ndarray:
    """Returns each distinct point's squared distances to its nearest, rising, ``(distinct points, neighbors)``."""
    # More copies of a point change nobody's nearest.
    kept = np.minimum(points.copies, neighbors + 1)
    references = np.repeat(points.rows, kept)
    own = np.cumsum(kept) - kept
    # Fakes of a collapsed generator lie close together: distances are sharpest about their own centre.
    centre = points.mean()
    nearest = np.full((len(points.rows), neighbors), np.inf)
    for query_block in _blocks(len(points.rows)):
        queries = _Block(points, points.rows[query_block], centre)
        found = nearest[query_block]
        for block in _blocks(len(references)):
            distances = _Distances(queries, _Block(points, references[block], centre))
            itself = own[query_block] - block.start
            present = np.flatnonzero((itself >= 0) & (itself < block.stop - block.start))
            distances.lower[present, itself[present]] = distances.upper[present, itself[present]] = np.inf
            limit = found[:, -1]
            if not np.isfinite(limit).all() and distances.upper.shape[1] > neighbors:
                limit = np.minimum(limit, np.partition(distances.upper, neighbors - 1, axis=1)[:, neighbors - 1])
            rows, columns = np.nonzero((distances.lower <= limit[:, np.newaxis]) & (distances.lower < np.inf))
            _insert(found, rows, distances.exact(rows, columns))
    return nearest


def _insert(
    nearest: np.ndarray,
    rows: np.ndarray,
    distances: np.ndarray,
    indices: np.ndarray | None = None,
    columns: np.ndarray | None = None,
) -> None:
    """Puts distances, each of a row, among the rows' nearest, and columns among their ``indices``."""
    # lexsort is stable: of equal distances, the lower column comes first.
    order = np.lexsort((distances, rows))
    rows, distances = rows[order], distances[order]
    rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
    few = rank < nearest.shape[1]
    candidates = np.full_like(nearest, np.inf)
    candidates[rows[few], rank[few]] = distances[few]
    both = np.concatenate([nearest, candidates], axis=1)
    best = np.argsort(both, axis=1, kind="stable")[:, : nearest.shape[1]]
    nearest[:] = np.take_along_axis(both, best, axis=1)
    if indices is not None and columns is not None:
        found = np.full_like(indices, -1)
        found[rows[few], rank[few]] = columns[order][few]
        indices[:] = np.take_along_axis(np.concatenate([indices, found], axis=1), best, axis=1)


def _blocks(count: int) -> Iterator[slice]:
    for first in range(0, count, BLOCK_ROWS):
        yield slice(first, min(first + BLOCK_ROWS, count))
