"""Scores of any images against any others: files, data sets, samples of runs, or statistics."""

import logging
import time
from importlib import metadata
from typing import Any

import tensorflow as tf

from hamgan.config import EvaluationConfig
from hamgan.config.protocols import card_id
from hamgan.distribution.strategies import is_multi_worker
from hamgan.errors import UserError
from hamgan.evaluation.classifier import Classifier
from hamgan.evaluation.classifier_agreement import check_same_classifier
from hamgan.evaluation.feature_extractor import FeatureExtractor
from hamgan.evaluation.features import DEFAULT_FOLDER, FeatureStore
from hamgan.evaluation.fid import Gaussian, Moments
from hamgan.evaluation.image_sources import ImageSource
from hamgan.evaluation.inception_score import inception_score
from hamgan.evaluation.resizing import BILINEAR, check_resizing
from hamgan.evaluation.row_blocks import all_finite
from hamgan.evaluation.run_images import RunImages
from hamgan.evaluation.score_sides import RunOptions, Side, StatisticsSide, open_sides
from hamgan.evaluation.set_scores import FeatureSet, set_scores
from hamgan.evaluation.statistics_file import Statistics
from hamgan.evaluation.statistics_file import save_statistics as write_statistics
from hamgan.evaluation.stored_features import stored_features
from hamgan.sampling.trained import Run

_logger = logging.getLogger(__name__)

FAKES, REFERENCE = "fakes", "reference"
NEIGHBORS_SAMPLES = EvaluationConfig.neighbors_samples
SMALLEST_COUNT = 2
"""Images that a covariance takes."""
_PACKAGES = ("hamgan", "tensorflow", "tensorflow-gan", "keras", "numpy", "pillow")


def score(
    fakes: str | Run | None = None,
    reference: str | Run | None = None,
    *,
    classifier: str | None = None,
    resize: str = BILINEAR,
    fakes_classifier: str | None = None,
    reference_classifier: str | None = None,
    save_statistics: str | None = None,
    checkpoint: str | None = None,
    weights: str | None = None,
    num_samples: int | None = None,
    truncation: float | None = None,
    resolution: int | None = None,
    neighbors_samples: int = NEIGHBORS_SAMPLES,
    batch: int | None = None,
    data_dir: str | None = None,
    cache_dir: str | None = None,
    strategy: tf.distribute.Strategy | None = None,
) -> dict[str, Any]:
    """Scores images against other images: FID, IS, KID, precision, recall, density and coverage.

    Each side is one of

    - a folder of images, of any sizes and with subfolders;
    - an ``.npz`` file of images, ``arr_0``, uint8, ``(n, height, width, 3)``;
    - an ``.npz`` file of statistics, ``mu`` and ``sigma``: FID only, and IS where the fakes are images;
    - ``tfds:NAME`` or ``tfds:NAME:SPLIT``, a TFDS data set; by default, its validation split;
    - a run, whose samples are drawn as by :func:`hamgan.evaluate`.

    A file with images and statistics counts as images, unless the classifier of its statistics is stated.

    Args:
        fakes: images to score. May be None where only ``save_statistics`` is wanted.
        reference: images to compare with.
        classifier: TF-Hub handle or SavedModel; by default, that of the run, or TF-GAN's Inception.
        resize: "bilinear" (without antialiasing, as published) or "bicubic" (antialiased, as clean-fid).
        fakes_classifier: classifier of the fakes' statistics, if the file does not record it.
        reference_classifier: classifier of the reference's statistics, if the file does not record it: its SHA-256, its
            handle, or a name. A name cannot be compared, only recorded.
        save_statistics: path of an ``.npz`` file for the statistics of the reference.
        checkpoint: checkpoint of the run; "latest", "best", a step or a path. By default, the latest one.
        weights: weights of the run's generator, "ema" or "raw".
        num_samples: number of samples of the run; by default, that of its settings.
        truncation: truncation of the run's latent vectors; by default, that of its settings.
        resolution: height and width of the images of a data set; by default, those of the run on the other side, or
            those of the stored images.
        neighbors_samples: most images of each side for precision, recall, density and coverage; 0 skips these.
        batch: number of images per batch, summed over replicas; by default, 64, or that of the run's settings.
        data_dir: folder of the TFDS data sets.
        cache_dir: local folder of features; by default, ``~/.cache/hamgan/features``.
        strategy: strategy whose replicas run the networks; by default, the current one.

    Returns:
        "scores" ("fid", "inception_score", "kid", ...; None if not available), "standard_errors" ("kid"), "real" (the
        Inception score of the reference), "card" (everything that the scores depend on), "card_id", "provenance",
        "warnings", "time" and "seconds".

    Raises:
        UserError: a side or the classifier is missing or unusable, the sides do not fit, or an option is wrong.
        FailedError: features or statistics cannot be written.

    Reference: Heusel et al., GANs Trained by a Two Time-Scale Update Rule (NeurIPS 2017), for FID, and Parmar et al.,
    On Aliased Resizing and Surprising Subtleties in GAN Evaluation (CVPR 2022), for the effect of resizing.

    Example:
        >>> import hamgan
        >>> result = hamgan.score("runs/digits", "tfds:digits", classifier="classifier", data_dir="data")
        >>> sorted(result["scores"])
        ['coverage', 'density', 'fid', 'inception_score', 'kid', 'precision', 'recall']
    """
    begun = time.monotonic()
    strategy = strategy or tf.distribute.get_strategy()
    cache_dir = cache_dir or DEFAULT_FOLDER
    _check_options(fakes, reference, resize, save_statistics, neighbors_samples, batch, strategy)
    sides = open_sides(
        {name: item for name, item in ((REFERENCE, reference), (FAKES, fakes)) if item is not None},
        stated={FAKES: fakes_classifier, REFERENCE: reference_classifier},
        run_options=RunOptions(checkpoint, weights, num_samples, truncation),
        resolution=resolution,
        batch=batch,
        data_dir=data_dir,
        cache_dir=cache_dir,
    )
    if save_statistics is not None and isinstance(sides[REFERENCE], StatisticsSide):
        raise UserError(f"--save_statistics: the reference {reference} holds statistics already, expected images")
    for side in sides.values():
        if isinstance(side, ImageSource) and side.count < SMALLEST_COUNT:
            raise UserError(f"{side.name}: FID and IS expect at least {SMALLEST_COUNT} images, found {side.count}")

    extractor = _extractor(sides, classifier, resize, strategy, batch)
    warnings = check_same_classifier(sides[FAKES], sides[REFERENCE], extractor) if FAKES in sides else []
    _check_widths(sides, extractor)
    sets, to_delete = {}, []
    for name, side in sides.items():
        sets[name], store = _feature_set(name, side, extractor, cache_dir)
        if store is not None and isinstance(side, ImageSource) and not side.keeps_features:
            to_delete.append(store)
        warnings += _few_images(name, side, len(sets[name].gaussian.mean))
    for warning in warnings:
        _logger.warning("%s", warning)
    card = {name: side.card() for name, side in sides.items()} | {"neighbors_samples": neighbors_samples}
    if extractor is not None:
        card["classifier"] = extractor.card()
    if save_statistics is not None:
        made_by = {"count": sides[REFERENCE].count, "classifier": card["classifier"], "images": card[REFERENCE]}
        write_statistics(save_statistics, Statistics(sets[REFERENCE].gaussian, made_by))
    scores, errors = (
        set_scores(sets[FAKES], sets[REFERENCE], neighbors_samples=neighbors_samples) if FAKES in sets else ({}, {})
    )
    real = sets[REFERENCE].features
    for store in to_delete:
        store.delete()
    return {
        "scores": scores,
        "standard_errors": errors,
        "real": {"inception_score": None if real is None else inception_score(real.logits)},
        "card": card,
        "card_id": card_id(card),
        "provenance": {
            "versions": {name: metadata.version(name) for name in _PACKAGES},
            **{name: side.provenance() for name, side in sides.items()},
        },
        "warnings": warnings,
        "time": time.time(),
        "seconds": time.monotonic() - begun,
    }


def _check_options(
    fakes: str | Run | None,
    reference: str | Run | None,
    resize: str,
    save_statistics: str | None,
    neighbors_samples: int,
    batch: int | None,
    strategy: tf.distribute.Strategy,
) -> None:
    check_resizing(resize)
    if reference is None or (fakes is None and save_statistics is None):
        raise UserError("expected --fakes and --reference, or --reference and --save_statistics")
    if neighbors_samples < 0 or (batch is not None and batch < 1):
        raise UserError(
            f"neighbors_samples must not be negative and batch must be positive, found {neighbors_samples} and {batch}"
        )
    if is_multi_worker(strategy):
        raise UserError("score runs in one process, but TF_CONFIG names several workers; unset TF_CONFIG")


def _extractor(
    sides: dict[str, Side], classifier: str | None, resize: str, strategy: tf.distribute.Strategy, batch: int | None
) -> FeatureExtractor | None:
    """Returns the extractor of the features of images; None where both sides are statistics."""
    if not any(isinstance(side, ImageSource) for side in sides.values()):
        return None
    runs = [side for side in (sides.get(FAKES), sides[REFERENCE]) if isinstance(side, RunImages)]
    handle = classifier or (runs[0].config.evaluation if runs else EvaluationConfig()).classifier
    return FeatureExtractor(Classifier(handle, strategy), resize, strategy, batch or EvaluationConfig.batch)


def _check_widths(sides: dict[str, Side], extractor: FeatureExtractor | None) -> None:
    """Raises UserError, before features are computed, if the sides have different numbers of features."""
    widths = {
        side.name: len(side.statistics.gaussian.mean) for side in sides.values() if isinstance(side, StatisticsSide)
    }
    if widths and extractor is not None:
        widths[extractor.classifier.handle] = extractor.width()
    if len(set(widths.values())) > 1:
        found = " and ".join(f"{width} of {name}" for name, width in widths.items())
        raise UserError(f"expected equal numbers of features, found {found}; they are of different classifiers")


def _feature_set(
    name: str, side: Side, extractor: FeatureExtractor | None, cache_dir: str
) -> tuple[FeatureSet, FeatureStore | None]:
    """Returns the features of images, or the statistics, and the store of features."""
    if isinstance(side, StatisticsSide):
        return FeatureSet(side.statistics.gaussian), None
    if extractor is None:
        raise ValueError("expected an extractor for images, received None")
    content = side.content(extractor)
    described = {entry: value for entry, value in content["classifier"].items() if entry != "handle"}
    store = FeatureStore(cache_dir, {**content, "classifier": described}, side.count)
    features = stored_features(
        store, side.count, lambda first: side.features(extractor, first), name.capitalize(), extractor.strategy
    )
    if features is None:
        raise ValueError("expected a single process")
    if name == REFERENCE and not (all_finite(features.logits) and all_finite(features.pool_3)):
        raise UserError(
            f"classifier {extractor.classifier.handle} returns values that are not finite for {side.name}; expected a "
            f"classifier of float32 images in [-1, 1]. If it is one, delete the damaged features in {cache_dir}"
        )
    moments = Moments.of(features.pool_3)
    return FeatureSet(Gaussian(moments.mean, moments.covariance), features, side.in_random_order), store


def _few_images(name: str, side: Side, width: int) -> list[str]:
    """Returns a warning if there are fewer images than features."""
    if side.count is None or side.count > width:
        return []
    return [
        f"{side.count:,} images of the {name} have {width:,} features each: their covariance is singular, and FID is "
        "too high by an amount that depends on the number of images. Compare it only with FIDs of as many images"
    ]
