"""Scores of one set of features against another, of any sizes, or against statistics alone."""

import logging
import math
from typing import NamedTuple

import numpy as np

from hamgan.evaluation.features import Features
from hamgan.evaluation.fid import FrechetDistance, Gaussian
from hamgan.evaluation.inception_score import inception_score
from hamgan.evaluation.neighbors import precision_recall_density_coverage
from hamgan.evaluation.row_blocks import all_finite
from hamgan.evaluation.scores import kid_or_none

_logger = logging.getLogger(__name__)

NEIGHBOR_SCORES = ("precision", "recall", "density", "coverage")
SCORES = ("fid", "inception_score", "kid", *NEIGHBOR_SCORES)
_ORDER_SEED = 0


class FeatureSet(NamedTuple):
    """A set of images as far as it is known.

    Args:
        gaussian: mean and covariance of ``pool_3``.
        features: features of all images; None where only statistics are known.
        in_random_order: whether any part of the features is a random part. Otherwise, scores that use parts of them
            shuffle the rows.
    """

    gaussian: Gaussian
    features: Features | None = None
    in_random_order: bool = True

    def order(self) -> np.ndarray | None:
        """Returns all rows in random order, ``(n,)``; None if they are in random order already."""
        if self.features is None or self.in_random_order:
            return None
        return np.random.default_rng(_ORDER_SEED).permutation(len(self.features.pool_3))

    def random_part(self, count: int) -> np.ndarray:
        """Returns ``pool_3`` of ``count`` random images, or of all if there are fewer."""
        if self.features is None:
            raise ValueError("expected features, received statistics")
        order = self.order()
        if order is None or len(order) <= count:
            return self.features.pool_3[:count]
        return self.features.pool_3[np.sort(order[:count])]


def set_scores(
    fakes: FeatureSet, reference: FeatureSet, *, neighbors_samples: int
) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """Scores fakes against a reference.

    Args:
        fakes: features or statistics of the fakes.
        reference: features or statistics of the reference.
        neighbors_samples: number of images of each side for precision, recall, density and coverage; 0 skips these.

    Returns:
        The scores by name, and the standard errors by name. A score is None if it needs features where only statistics
        are known, or more images than there are; all are NaN if a feature of the fakes is not finite.

    Raises:
        ValueError: the widths differ.

    Example:
        >>> import numpy as np
        >>> from hamgan.evaluation.fid import Gaussian
        >>> from hamgan.evaluation.set_scores import FeatureSet, set_scores
        >>> one, other = (FeatureSet(Gaussian(np.full(5, mean), np.eye(5))) for mean in (0.0, 2.0))
        >>> scores, _ = set_scores(one, other, neighbors_samples=0)
        >>> round(scores["fid"], 6), scores["kid"]
        (20.0, None)
    """
    scores: dict[str, float | None] = dict.fromkeys(SCORES)
    errors: dict[str, float | None] = {"kid": None}
    features, real = fakes.features, reference.features
    if features is not None and not (all_finite(features.logits) and all_finite(features.pool_3)):
        _logger.warning("The classifier's outputs for the fakes are not finite: all scores are NaN")
        return dict.fromkeys(SCORES, math.nan), errors
    scores["fid"] = FrechetDistance(reference.gaussian)(fakes.gaussian)
    if features is None:
        return scores, errors
    scores["inception_score"] = inception_score(features.logits)
    if real is None:
        return scores, errors
    scores["kid"], errors["kid"] = kid_or_none(real.pool_3, features.pool_3, reference.order(), fakes.order())
    if neighbors_samples:
        _logger.info("Looking for nearest neighbours")
        try:
            scores |= precision_recall_density_coverage(
                reference.random_part(neighbors_samples), fakes.random_part(neighbors_samples)
            )
        except ValueError as error:
            _logger.warning("No %s: %s", ", ".join(NEIGHBOR_SCORES), error)
    return scores, errors
