"""FID and IS of a run's checkpoints."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from hamgan.config import EvaluationConfig, ExperimentConfig
from hamgan.data.dataset import ClassificationDataset
from hamgan.errors import UserError
from hamgan.evaluation.classifier import Classifier, Features
from hamgan.evaluation.metrics import class_conditional_accuracy, frechet_inception_distance, inception_score
from hamgan.generator_checkpoint import load_generator
from hamgan.run_directory import RunDirectory, write_atomically
from hamgan.sampling import Sampler

_logger = logging.getLogger(__name__)


class Evaluator:
    """Scores checkpoints of one experiment; the classifier and the real data's features are made once.

    Args:
        config: the experiment; its ``evaluation`` says how.
        strategy: whose replicas share the work, of one process.

    Raises:
        UserError: the data set or the classifier cannot be had.
    """

    def __init__(self, config: ExperimentConfig, strategy: tf.distribute.Strategy | None = None) -> None:
        self.config = config
        self.strategy = strategy or tf.distribute.get_strategy()
        self.settings: EvaluationConfig = config.evaluation
        dataset = ClassificationDataset(config.data)
        self.classifier = Classifier(self.settings.classifier, self.strategy)
        _logger.info("Classifying real images")
        self.validation = self._real_features(dataset, config.data.validation_split)
        train = self._real_features(dataset, config.data.train_split)
        self.real_scores = {
            "real_inception_score": inception_score(self.validation.logits),
            "real_fid": frechet_inception_distance(self.validation.pool_3, train.pool_3),
            "real_accuracy": self._accuracy(self.validation),
        }
        self.counts = {"validation_images": len(self.validation.labels), "train_images": len(train.labels)}

    def _real_features(self, dataset: ClassificationDataset, split: str) -> Features:
        batches = dataset.evaluation_batches(
            split,
            resolution=self.config.model.resolution,
            batch=self.settings.batch,
            limit=self.settings.num_samples,
        )
        return self.classifier.features(batches.as_numpy_iterator())

    def _accuracy(self, features: Features) -> float | None:
        """None if the classifier's classes are not the data set's."""
        if features.logits.shape[1] != self.config.model.num_classes:
            return None
        return class_conditional_accuracy(features.logits, features.labels)

    def evaluate(self, path: str, weights: str) -> dict[str, Any]:
        """Scores one checkpoint.

        Args:
            path: of the checkpoint, without suffix.
            weights: "ema" or "raw".

        Returns:
            The scores; FID is against the validation split, ``real_fid`` is train against validation.
        """
        with self.strategy.scope():
            generator = load_generator(self.config, path, weights)
        sampler = Sampler(generator, seed=self.settings.seed, batch=self.settings.batch, strategy=self.strategy)
        labels = sampler.random_labels(self.settings.num_samples)
        fakes = self.classifier.features(_with_labels(sampler, labels))
        return {
            "fid": frechet_inception_distance(self.validation.pool_3, fakes.pool_3),
            "inception_score": inception_score(fakes.logits),
            "accuracy": self._accuracy(fakes),
            **self.real_scores,
        }


def _with_labels(sampler: Sampler, labels: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    first = 0
    for images in sampler.batches(labels):
        yield images, labels[first : first + len(images)]
        first += len(images)


def evaluate_checkpoints(
    config: ExperimentConfig,
    run: RunDirectory,
    checkpoints: list[tuple[int, str]],
    weights: str,
    strategy: tf.distribute.Strategy | None = None,
) -> list[dict[str, Any]]:
    """Scores checkpoints of a run and writes each result into its folder; results made the same way are kept.

    Args:
        config: the run's config, with the evaluation settings to use.
        run: the run.
        checkpoints: (step, path) of each.
        weights: "ema" or "raw".
        strategy: whose replicas share the work, of one process.

    Returns:
        The results, in the order of ``checkpoints``.
    """
    evaluator: Evaluator | None = None
    results = []
    for step, path in checkpoints:
        made_by = _made_by(config, weights)
        result = _read(run, step, weights)
        if result is not None and result["settings"] == made_by:
            _logger.info("Step %d: scored before", step)
        else:
            evaluator = evaluator or Evaluator(config, strategy)
            _logger.info("Step %d: sampling and scoring %d images", step, config.evaluation.num_samples)
            result = {
                "step": step,
                "weights": weights,
                **evaluator.evaluate(path, weights),
                "counts": evaluator.counts,
                "settings": made_by,
            }
            content = json.dumps(result, indent=2) + "\n"
            write_atomically(run.evaluation_path(step, weights), content.encode())
        results.append(result)
    return results


def _made_by(config: ExperimentConfig, weights: str) -> dict[str, Any]:
    """Everything that a result depends on besides the checkpoint."""
    settings = config.evaluation
    return {
        "classifier": settings.classifier,
        "num_samples": settings.num_samples,
        "seed": settings.seed,
        "weights": weights,
        "dataset": config.data.dataset,
        "train_split": config.data.train_split,
        "validation_split": config.data.validation_split,
        "resolution": config.model.resolution,
    }


def _read(run: RunDirectory, step: int, weights: str) -> dict[str, Any] | None:
    path = run.evaluation_path(step, weights)
    if not tf.io.gfile.exists(path):
        return None
    with tf.io.gfile.GFile(path) as file:
        try:
            return json.loads(file.read())
        except json.JSONDecodeError as error:
            raise UserError(f"{path} is damaged ({error}); delete it") from error


COLUMNS = (
    ("step", "step", "{:d}"),
    ("FID", "fid", "{:.2f}"),
    ("IS", "inception_score", "{:.2f}"),
    ("accuracy", "accuracy", "{:.1%}"),
    ("real IS", "real_inception_score", "{:.2f}"),
    ("real FID", "real_fid", "{:.2f}"),
    ("real accuracy", "real_accuracy", "{:.1%}"),
)


def table(results: list[dict[str, Any]]) -> str:
    """Returns results as an aligned text table."""
    rows = [[title for title, _, _ in COLUMNS]]
    for result in results:
        rows.append(["-" if result[key] is None else form.format(result[key]) for _, key, form in COLUMNS])
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
