"""Checkpoints of a run sampled, classified and scored; every result with the card of how it was made."""

import copy
import dataclasses
import hashlib
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from hamgan import protocols
from hamgan.class_lists import parse_classes
from hamgan.config import ExperimentConfig
from hamgan.data.dataset import ClassificationDataset
from hamgan.data.preprocessing import PREPROCESSING
from hamgan.distribution import agreed, is_chief
from hamgan.errors import PreemptedError, UserError
from hamgan.evaluation.classifier import Classifier
from hamgan.evaluation.feature_store import DEFAULT_FOLDER, Features, FeatureStore
from hamgan.evaluation.scores import RealReference, score_repeats
from hamgan.generator_checkpoint import load_generator
from hamgan.models import Generator
from hamgan.replicas import on_all_replicas
from hamgan.run_directory import RunDirectory
from hamgan.sampling import Sampler, set_batch_norm
from hamgan.score_columns import one_line

_logger = logging.getLogger(__name__)

EXTRAS = ("bootstrap", "fid_infinity", "intra_classes")
"""Settings that ask for scores beside the others, and change none of them."""
_PACKAGES = ("hamgan", "tensorflow", "tensorflow-gan", "keras", "numpy")

Batches = Iterator[tuple[dict[str, np.ndarray], np.ndarray]]
"""Outputs of the classifier, and labels."""


class Evaluator:
    """Scores checkpoints of one experiment; what concerns the real images is made once.

    Args:
        config: the experiment; its ``evaluation`` says how.
        strategy: whose replicas share the work.
        cache_dir: local folder of features: of real images for good, of fakes until they are scored.

    Raises:
        UserError: the data set or the classifier cannot be had, or the settings do not go with them.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        strategy: tf.distribute.Strategy | None = None,
        cache_dir: str = DEFAULT_FOLDER,
    ) -> None:
        self.config = config
        self.settings = config.evaluation
        self.strategy = strategy or tf.distribute.get_strategy()
        self.cache_dir = cache_dir
        self.dataset = ClassificationDataset(config.data)
        replicas = self.strategy.num_replicas_in_sync
        if self.settings.batch_norm != "moving" and self.settings.batch % replicas:
            raise UserError(
                f"evaluation.batch must be a multiple of the {replicas} replicas where batches are normalised by their "
                f"own statistics (evaluation.batch_norm={self.settings.batch_norm}), found {self.settings.batch}"
            )
        self.classifier = Classifier(self.settings.classifier, self.strategy)
        self.intra_classes = _intra_classes(config)
        self._classify = on_all_replicas(self.strategy, self.classifier)
        self._real: RealReference | None = None
        self._real_is_made = False
        self._generators: dict[str, Generator] = {}
        self._samplers: dict[tuple[str, float | None], Sampler] = {}
        self._finished: FeatureStore | None = None

    def at_truncation(self, truncation: float | None) -> "Evaluator":
        """Returns an evaluator that differs in the truncation; if None, this one as it is."""
        if truncation is None:
            return self
        self._real_reference()
        other = copy.copy(self)
        other.settings = dataclasses.replace(self.settings, truncation=truncation)
        other.config = dataclasses.replace(self.config, evaluation=other.settings)
        return other

    @property
    def validation_count(self) -> int:
        """How many images of the validation split are used."""
        return self._count(self.config.data.validation_split)

    def real_scores(self) -> dict[str, float | None] | None:
        """Returns the real images' own scores; None to processes other than the chief."""
        real = self._real_reference()
        return None if real is None else real.scores

    def card(self, weights: str) -> dict[str, Any]:
        """Returns how results for these weights, "ema" or "raw", are made: a protocol card."""
        settings, data = self.settings, self.config.data
        batch_norm = settings.batch_norm
        if batch_norm != "moving":
            passes = f"{settings.standing_passes} batches" if batch_norm == "standing" else "each batch"
            batch_norm += f" ({passes} of {settings.batch})"
        return {
            "protocol": protocols.describe(settings),
            "weights": weights,
            "batch_norm": batch_norm,
            "truncation": settings.truncation,
            "seed": settings.seed,
            "repeats": settings.repeats,
            "images": {
                "fake": settings.num_samples,
                "validation": self._count(data.validation_split),
                "train": self._count(data.train_split),
                "neighbors": settings.neighbors_samples,
            },
            "resolution": self.config.model.resolution,
            "preprocessing": PREPROCESSING,
            "validation": self.dataset.identity(data.validation_split),
            "train": self.dataset.identity(data.train_split),
            "classifier": self.classifier.card(),
            "versions": {name: metadata.version(name) for name in _PACKAGES},
        }

    def _count(self, split: str) -> int:
        """How many images of a split are used."""
        if self.settings.wrap_validation and split == self.config.data.validation_split:
            return self.settings.num_samples
        return min(self.settings.num_samples, self.dataset.num_examples(split))

    def evaluate(self, path: str, weights: str) -> dict[str, Any] | None:
        """Scores one checkpoint.

        Args:
            path: of the checkpoint, without suffix.
            weights: "ema" or "raw".

        Returns:
            What :func:`hamgan.evaluation.scores.score_repeats` does, "real" with the same scores of the real images,
            and how it was made: "card", "card_id", "checkpoint", "settings", "seconds". None to processes other than
            the chief.

        Raises:
            UserError: the checkpoint is missing, damaged, or of another architecture.
        """
        begun = time.monotonic()
        settings = self.settings
        checkpoint = checkpoint_sha256(path)
        with self.strategy.scope():
            generator = load_generator(self.config, path, weights, self._generators.get(weights))
        self._generators[weights] = generator
        real = self._real_reference()
        card = self.card(weights)
        made_by = {**card, "protocol": None, "checkpoint": checkpoint, "batch": settings.batch}
        store = self._store(made_by, settings.num_samples * settings.repeats)

        def batches(first: int) -> Batches:
            set_batch_norm(
                generator,
                settings.batch_norm,
                passes=settings.standing_passes,
                batch=settings.batch,
                seed=settings.seed,
                strategy=self.strategy,
                truncation=settings.truncation,
            )
            sampler = self._sampler(weights)
            labels = sampler.random_labels(settings.num_samples * settings.repeats - first, first=first)
            return _with_labels(sampler.batches(labels, first=first), labels)

        fakes = self._filled(store, settings.num_samples * settings.repeats, batches, "Fakes")
        if store is None or fakes is None or real is None:
            return None
        each = [
            fakes.rows(repeat * settings.num_samples, (repeat + 1) * settings.num_samples)
            for repeat in range(settings.repeats)
        ]
        scored = score_repeats(each, real, settings, self.intra_classes)
        self._finished = store
        return {
            **scored,
            "real": real.scores,
            "checkpoint": checkpoint,
            "card": card,
            "card_id": protocols.card_id(card),
            "extras": extras_of(self.config),
            "seconds": time.monotonic() - begun,
        }

    def _sampler(self, weights: str) -> Sampler:
        """One for all checkpoints: it is compiled once."""
        key = (weights, self.settings.truncation)
        if key not in self._samplers:
            self._samplers[key] = Sampler(
                self._generators[weights],
                seed=self.settings.seed,
                batch=self.settings.batch,
                strategy=self.strategy,
                truncation=self.settings.truncation,
                postprocess=self.classifier,
            )
        return self._samplers[key]

    def forget_fakes(self) -> None:
        """Deletes the features of the fakes scored last; for when the result is written."""
        if self._finished is not None:
            self._finished.delete()

    def _store(self, content: dict[str, Any], count: int) -> FeatureStore | None:
        """None to processes other than the chief."""
        return FeatureStore(self.cache_dir, content, count) if is_chief(self.strategy) else None

    def _filled(
        self, store: FeatureStore | None, count: int, batches: Callable[[int], Batches], what: str
    ) -> Features | None:
        """Fills a store from where it ends, with all processes."""
        rows = agreed(self.strategy, store.rows if store is not None else 0)
        if rows < count:
            with tqdm(
                total=count,
                initial=rows,
                desc=what,
                unit="img",
                leave=False,
                mininterval=0.5 if sys.stderr.isatty() else 30.0,
                disable=store is None,
            ) as progress:
                try:
                    for outputs, labels in batches(rows):
                        if store is not None:
                            store.append(outputs["logits"], outputs["pool_3"], labels)
                            progress.update(len(labels))
                except (KeyboardInterrupt, PreemptedError):
                    if store is not None:
                        store.save()
                    raise
        return None if store is None else store.features()

    def _real_reference(self) -> RealReference | None:
        # All processes make it once, though only the chief keeps it.
        if not self._real_is_made:
            data = self.config.data
            validation, train = (self._real_features(split) for split in (data.validation_split, data.train_split))
            if validation is not None and train is not None:
                self._real = RealReference(
                    validation,
                    train,
                    self.config.model.num_classes,
                    self.dataset.num_examples(data.validation_split),
                )
            self._real_is_made = True
        return self._real

    def _real_features(self, split: str) -> Features | None:
        count = self._count(split)
        resolution = self.config.model.resolution
        classifier = {name: value for name, value in self.classifier.card().items() if name != "handle"}
        content = {
            "real": self.dataset.identity(split),
            "resolution": resolution,
            "preprocessing": PREPROCESSING,
            "classifier": classifier,
        }

        def batches(first: int) -> Batches:
            images_and_labels = self.dataset.evaluation_batches(
                split, resolution=resolution, batch=self.settings.batch, first=first, last=count
            )
            with self.dataset.reading(split):
                for images, labels in images_and_labels.as_numpy_iterator():
                    yield self._classify(images), labels

        return self._filled(self._store(content, count), count, batches, f"Real images, {split}")


def _with_labels(batches: Iterable[dict[str, np.ndarray]], labels: np.ndarray) -> Batches:
    first = 0
    for outputs in batches:
        count = len(outputs["logits"])
        yield outputs, labels[first : first + count]
        first += count


def _intra_classes(config: ExperimentConfig) -> list[int]:
    text = config.evaluation.intra_classes
    return parse_classes(text, config.model.num_classes, "evaluation.intra_classes") if text else []


def checkpoint_sha256(path: str) -> str:
    """Returns the SHA-256 of a checkpoint's index, which holds a checksum of every tensor.

    Args:
        path: of the checkpoint, without suffix.

    Raises:
        UserError: it is not there.
    """
    try:
        with tf.io.gfile.GFile(f"{path}.index", "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except tf.errors.NotFoundError as error:
        raise UserError(f"no checkpoint {path}: there is no {path}.index") from error


def extras_of(config: ExperimentConfig) -> dict[str, Any]:
    """Returns the settings that ask for scores beside the others."""
    settings = dataclasses.asdict(config.evaluation)
    return {name: settings[name] for name in EXTRAS}


def evaluate_checkpoints(
    evaluator: Evaluator, run: RunDirectory, checkpoints: list[tuple[int, str]], weights: str
) -> list[dict[str, Any]]:
    """Scores checkpoints of a run and writes each result into its folder; results made the same way are kept.

    Args:
        evaluator: how.
        run: the run.
        checkpoints: (step, path) of each.
        weights: "ema" or "raw".

    Returns:
        The results, in the order of ``checkpoints``; none to processes other than the chief.
    """
    results = []
    chief = is_chief(evaluator.strategy)
    for step, path in checkpoints:
        known = find_result(evaluator, run, step, path, weights) if chief else None
        if agreed(evaluator.strategy, int(known is not None)):
            _logger.info("Step %d: scored before", step)
        else:
            _logger.info("Step %d: %d images", step, evaluator.settings.num_samples * evaluator.settings.repeats)
            made = evaluator.evaluate(path, weights)
            if made is not None:
                known = {"step": step, "weights": weights, **made}
                run.write_evaluation(known)
                _logger.info("Step %d: %s", step, one_line(known))
                evaluator.forget_fakes()
        if known is not None:
            results.append(known)
    return results


def find_result(evaluator: Evaluator, run: RunDirectory, step: int, path: str, weights: str) -> dict[str, Any] | None:
    """Returns the result of the same checkpoint made the same way, with all that is asked for, if there is one."""
    result = run.read_evaluation(step, protocols.card_id(evaluator.card(weights)))
    if result is None or result["checkpoint"] != checkpoint_sha256(path):
        return None
    asked = extras_of(evaluator.config)
    is_enough = all(not value or result["extras"].get(name) == value for name, value in asked.items())
    return result if is_enough else None
