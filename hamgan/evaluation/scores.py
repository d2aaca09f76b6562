"""All scores of a set of fakes, computed from features."""

import logging
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hamgan.config import EvaluationConfig
from hamgan.errors import UserError
from hamgan.evaluation.features import Features
from hamgan.evaluation.fid import FrechetDistance, Moments, intra_class_frechet_distances
from hamgan.evaluation.inception_score import inception_score
from hamgan.evaluation.kid import kernel_inception_distance
from hamgan.evaluation.neighbors import precision_recall_density_coverage
from hamgan.evaluation.row_blocks import all_finite
from hamgan.evaluation.uncertainty import (
    bootstrap_frechet_distance,
    bootstrap_inception_score,
    frechet_distance_infinity,
)

_logger = logging.getLogger(__name__)


def class_conditional_accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Returns the fraction of images, in [0, 1], that the classifier assigns to their label."""
    return float(np.mean(np.argmax(logits, axis=1) == labels))


class RealReference:
    """Features of the real images, and everything that is computed from them once.

    Args:
        validation: features of the validation split, the reference of FID.
        train: features of the train split.
        num_classes: number of classes of the data set. Accuracy is None for a classifier with another number.
        distinct: number of distinct validation images, which come first; by default, all. Only these are used for
            nearest neighbours.
    """

    def __init__(self, validation: Features, train: Features, num_classes: int, distinct: int | None = None) -> None:
        self.validation = validation
        self.train = train
        self.num_classes = num_classes
        self.distinct = validation.rows(0, len(validation.labels) if distinct is None else distinct)
        _logger.info("Scoring the real images")
        train_moments = Moments.of(train.pool_3)
        self.distance = FrechetDistance(Moments.of(validation.pool_3))
        self.train_distance = FrechetDistance(train_moments)
        self.scores: dict[str, float | None] = {
            "fid": self.distance(train_moments),
            "inception_score": inception_score(validation.logits),
            "accuracy": self.accuracy(validation),
        }

    def accuracy(self, features: Features) -> float | None:
        """Returns the class accuracy, or None if the classifier has another number of classes."""
        if features.logits.shape[1] != self.num_classes:
            return None
        return class_conditional_accuracy(features.logits, features.labels)


def score(fakes: Features, real: RealReference, neighbors_samples: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Scores one set of fakes.

    Args:
        fakes: features of the fakes.
        real: real features.
        neighbors_samples: number of real and of fake images for precision, recall, density and coverage; 0 skips these.

    Returns:
        The scores by name, and the standard errors by name. All scores are NaN if a feature is not finite, as after a
        collapse of the generator.
    """
    if not _are_finite(fakes):
        _logger.warning("The classifier's outputs for the fakes are not finite: all scores are NaN")
        names = ["fid", "fid_train", "inception_score", "kid", "accuracy"]
        names += ["precision", "recall", "density", "coverage"] if neighbors_samples else []
        return dict.fromkeys(names, math.nan), {"kid": None}
    moments = Moments.of(fakes.pool_3)
    kid, kid_error = kid_or_none(real.validation.pool_3, fakes.pool_3)
    scores = {
        "fid": real.distance(moments),
        "fid_train": real.train_distance(moments),
        "inception_score": inception_score(fakes.logits),
        "kid": kid,
        "accuracy": real.accuracy(fakes),
    }
    if neighbors_samples:
        _logger.info("Looking for nearest neighbours")
        try:
            scores |= precision_recall_density_coverage(
                real.distinct.pool_3[:neighbors_samples], fakes.pool_3[:neighbors_samples]
            )
        except ValueError as error:
            raise UserError(f"precision and recall: {error}; or override evaluation.neighbors_samples=0") from error
    return scores, {"kid": kid_error}


def kid_or_none(
    real_pool_3: np.ndarray,
    fake_pool_3: np.ndarray,
    real_rows: np.ndarray | None = None,
    fake_rows: np.ndarray | None = None,
) -> tuple[float | None, float | None]:
    """Returns KID and its standard error; None and a warning if there are too few images.

    See :func:`hamgan.evaluation.kid.kernel_inception_distance` for the arguments.
    """
    try:
        return kernel_inception_distance(real_pool_3, fake_pool_3, real_rows=real_rows, fake_rows=fake_rows)
    except ValueError as error:
        _logger.warning("No KID: %s", error)
        return None, None


def score_repeats(
    fakes: Sequence[Features], real: RealReference, settings: EvaluationConfig, intra_classes: Sequence[int]
) -> dict[str, Any]:
    """Scores several sets of fakes of one generator.

    Args:
        fakes: features of each set.
        real: real features.
        settings: settings that select the scores.
        intra_classes: labels of classes to compute FID within.

    Returns:
        "scores" (means over the sets), "spread" (standard deviations, if there are several sets), "repeats" (the scores
        of each set), and, for the first set, "standard_errors", "fid_infinity" and "intra_fid" if requested.
    """
    repeats = []
    for features in fakes:
        scores, errors = score(features, real, settings.neighbors_samples)
        repeats.append(scores)
        if len(repeats) == 1:
            first_errors = errors
    first = fakes[0]
    result: dict[str, Any] = {
        "scores": {name: _over_repeats(np.mean, name, repeats) for name in repeats[0]},
        "spread": {name: _over_repeats(_deviation, name, repeats) for name in repeats[0]} if len(repeats) > 1 else {},
        "repeats": repeats,
        "standard_errors": first_errors,
        "fid_infinity": None,
        "intra_fid": {},
    }
    if not _are_finite(first):
        result["fid_infinity"] = math.nan if settings.fid_infinity else None
        result["intra_fid"] = {str(label): math.nan for label in intra_classes}
        return result
    if settings.bootstrap:
        _logger.info("Resampling %d times", settings.bootstrap)
        options = {"resamples": settings.bootstrap, "seed": settings.seed}
        result["standard_errors"] |= {
            "fid": bootstrap_frechet_distance(real.distance, first.pool_3, **options),
            "inception_score": bootstrap_inception_score(first.logits, **options),
        }
    if settings.fid_infinity:
        _logger.info("Extrapolating FID")
        result["fid_infinity"] = frechet_distance_infinity(real.distance, first.pool_3, seed=settings.seed)
    if intra_classes:
        try:
            distances = intra_class_frechet_distances(
                real.validation.pool_3, real.validation.labels, first.pool_3, first.labels, list(intra_classes)
            )
        except ValueError as error:
            raise UserError(f"evaluation.intra_classes: {error}") from error
        result["intra_fid"] = {str(label): distance for label, distance in distances.items()}
    return result


def _are_finite(features: Features) -> bool:
    return all_finite(features.logits) and all_finite(features.pool_3)


def _over_repeats(function: Any, name: str, repeats: Sequence[dict[str, Any]]) -> float | None:
    values = [scores[name] for scores in repeats]
    return None if None in values else float(function(values))


def _deviation(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1))
