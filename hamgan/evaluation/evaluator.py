"""Evaluation of one checkpoint: samples, features, scores and their protocol card."""

import copy
import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from hamgan.config import ExperimentConfig
from hamgan.config.class_lists import parse_classes
from hamgan.counted import counted
from hamgan.data.dataset import ClassificationDataset
from hamgan.data.fitted_config import fitted_config
from hamgan.data.preprocessing import PREPROCESSING
from hamgan.distribution.strategies import is_chief
from hamgan.errors import UserError
from hamgan.evaluation.card import CardMaker, channels_card, extras_of, images_used
from hamgan.evaluation.classifier import Classifier
from hamgan.evaluation.feature_extractor import FeatureExtractor
from hamgan.evaluation.features import DEFAULT_FOLDER, Features, FeatureStore
from hamgan.evaluation.generated_images import evaluation_sampler, prepare_batch_normalization
from hamgan.evaluation.neighbors import DENSITY_NEIGHBORS
from hamgan.evaluation.resizing import BILINEAR
from hamgan.evaluation.row_blocks import all_finite
from hamgan.evaluation.scores import RealReference, score_repeats
from hamgan.evaluation.stored_features import Batches, stored_features, with_labels
from hamgan.networks import Generator
from hamgan.runs.checkpoints import checkpoint_sha256
from hamgan.sampling.sampler import Sampler
from hamgan.sampling.trained_weights import load_generator

SMALLEST_COUNT = 2
"""Images that a covariance takes."""


class Evaluator:
    """Scores checkpoints of one experiment. Features of the real images are computed once.

    Args:
        config: config of the experiment, including its ``evaluation`` settings.
        strategy: strategy whose replicas share the work.
        cache_dir: local folder for features. Those of real images are kept, those of fakes until they are scored.
        class_counts: class counts by which labels of fakes are drawn, from
            :meth:`hamgan.runs.directory.RunDirectory.read_class_counts`; None for uniform labels.

    Raises:
        UserError: the data set or the classifier is missing or unusable, or the data set is too small for the requested
            scores.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        strategy: tf.distribute.Strategy | None = None,
        cache_dir: str = DEFAULT_FOLDER,
        class_counts: Sequence[int] | None = None,
    ) -> None:
        self.config = config = fitted_config(config)
        self.settings = config.evaluation
        self.strategy = strategy or tf.distribute.get_strategy()
        self.cache_dir = cache_dir
        self.class_counts = class_counts
        self.dataset = ClassificationDataset(config.data)
        replicas = self.strategy.num_replicas_in_sync
        if self.settings.batch_norm != "moving" and self.settings.batch % replicas:
            raise UserError(
                f"evaluation.batch must be a multiple of the {replicas} replicas where batches are normalised by their "
                f"own statistics (evaluation.batch_norm={self.settings.batch_norm}), found {self.settings.batch}"
            )
        self.intra_classes = _intra_classes(config)
        self._check_counts()
        self.classifier = Classifier(self.settings.classifier, self.strategy)
        self._extractor = FeatureExtractor(self.classifier, BILINEAR, self.strategy, self.settings.batch)
        self._real: RealReference | None = None
        self._real_is_made = False
        self._generators: dict[str, Generator] = {}
        self._samplers: dict[tuple[str, float | None], Sampler] = {}
        self._finished: FeatureStore | None = None

    def _check_counts(self) -> None:
        """Raises UserError, before any work, if there are too few images for the requested scores."""
        settings, data = self.settings, self.config.data
        for split in (data.validation_split, data.train_split):
            count = self.dataset.num_examples(split)
            if count < SMALLEST_COUNT:
                raise UserError(
                    f"split '{split}' of data set '{data.dataset}' has {counted(count, 'image')}; FID and IS expect at "
                    f"least {SMALLEST_COUNT}"
                )
        # Images that count twice are no neighbours.
        distinct = min(settings.num_samples, self.dataset.num_examples(data.validation_split))
        neighbors = min(settings.neighbors_samples, distinct)
        if settings.neighbors_samples and neighbors <= DENSITY_NEIGHBORS:
            raise UserError(
                f"precision and recall expect more than {DENSITY_NEIGHBORS} images of each side, found {neighbors}; "
                "override evaluation.neighbors_samples=0 to leave them out"
            )
        if settings.fid_infinity and settings.num_samples <= SMALLEST_COUNT:
            raise UserError(
                f"evaluation.fid_infinity expects more than {SMALLEST_COUNT} fakes, found evaluation.num_samples="
                f"{settings.num_samples}"
            )

    def at_truncation(self, truncation: float | None) -> "Evaluator":
        """Returns an evaluator with another truncation, or this evaluator for None."""
        if truncation is None:
            return self
        settings = dataclasses.replace(self.settings, truncation=truncation)
        self._real_reference()  # Computed before the copy, so that both share it.
        other = copy.copy(self)
        other.settings = settings
        other.config = dataclasses.replace(self.config, evaluation=other.settings)
        return other

    @property
    def validation_count(self) -> int:
        """Number of images of the validation split that are used."""
        return self._count(self.config.data.validation_split)

    def real_scores(self) -> dict[str, float | None] | None:
        """Returns the scores of the real images. None in processes other than the chief."""
        real = self._real_reference()
        return None if real is None else real.scores

    def card(self, weights: str) -> dict[str, Any]:
        """Returns how results for these weights, "ema" or "raw", are made; see :class:`CardMaker`."""
        return self._cards().card(weights)

    def provenance(self) -> dict[str, Any]:
        """Returns the provenance that is recorded beside a card; see :meth:`CardMaker.provenance`."""
        return self._cards().provenance()

    def _cards(self) -> CardMaker:
        return CardMaker(self.config, self.dataset, self.classifier, self.cache_dir, self.class_counts)

    def _count(self, split: str) -> int:
        """Returns the number of images of a split that are used."""
        return images_used(self.config, self.dataset, split)

    def evaluate(self, path: str, weights: str) -> dict[str, Any] | None:
        """Scores one checkpoint.

        Args:
            path: path of the checkpoint, without suffix.
            weights: "ema" or "raw".

        Returns:
            The result of :func:`hamgan.evaluation.scores.score_repeats`, "real" (the scores of the real images),
            "card", "provenance", "checkpoint" (SHA-256), "extras", "time" and "seconds". None in processes other than
            the chief.

        Raises:
            UserError: the checkpoint is missing or damaged, or has another architecture.
        """
        begun = time.monotonic()
        settings = self.settings
        with self.strategy.scope():
            generator = load_generator(self.config, path, weights, self._generators.get(weights))
        checkpoint = checkpoint_sha256(path)
        self._generators[weights] = generator
        real = self._real_reference()
        made_by = {**self._cards().fakes_card(weights), "checkpoint": checkpoint, "batch": settings.batch}
        store = self._store(made_by, settings.num_samples * settings.repeats)

        def batches(first: int) -> Batches:
            prepare_batch_normalization(generator, settings, strategy=self.strategy, class_counts=self.class_counts)
            sampler = self._sampler(weights)
            labels = sampler.random_labels(settings.num_samples * settings.repeats - first, first=first)
            return with_labels(sampler.batches(labels, first=first), labels)

        fakes = stored_features(store, settings.num_samples * settings.repeats, batches, "Fakes", self.strategy)
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
            "card": self.card(weights),
            "provenance": self.provenance(),
            "extras": extras_of(self.config),
            "time": time.time(),
            "seconds": time.monotonic() - begun,
        }

    def _sampler(self, weights: str) -> Sampler:
        """Returns the sampler of all checkpoints, so that it is compiled once."""
        key = (weights, self.settings.truncation)
        if key not in self._samplers:
            self._samplers[key] = evaluation_sampler(
                self._generators[weights],
                self.settings,
                strategy=self.strategy,
                class_counts=self.class_counts,
                postprocess=self.classifier,
            )
        return self._samplers[key]

    def forget_fakes(self) -> None:
        """Deletes the features of the last fakes, once their result is written."""
        if self._finished is not None:
            self._finished.delete()

    def _store(self, content: dict[str, Any], count: int) -> FeatureStore | None:
        """Returns the store of the features of images. None in processes other than the chief."""
        classifier = {name: value for name, value in content["classifier"].items() if name != "handle"}
        content = {**content, "classifier": classifier}
        return FeatureStore(self.cache_dir, content, count) if is_chief(self.strategy) else None

    def _real_reference(self) -> RealReference | None:
        # All processes compute it once, but only the chief keeps it.
        if not self._real_is_made:
            data = self.config.data
            validation, train = (self.real_features(split) for split in (data.validation_split, data.train_split))
            if validation is not None and train is not None:
                self._real = RealReference(
                    validation,
                    train,
                    self.config.model.num_classes,
                    self.dataset.num_examples(data.validation_split),
                )
            self._real_is_made = True
        return self._real

    def real_features(self, split: str) -> Features | None:
        """Returns the features of the real images of a split, in stored order; computed once and cached on disk.

        None in processes other than the chief.
        """
        count = self._count(split)
        model = self.config.model

        def batches(first: int) -> Batches:
            images_and_labels = self.dataset.evaluation_batches(
                split,
                resolution=model.resolution,
                channels=model.channels,
                batch=self.settings.batch,
                first=first,
                last=count,
            )
            with self.dataset.reading(split):
                for images, labels in images_and_labels.as_numpy_iterator():
                    yield self._extractor.of_batch(images), labels

        store = None
        if is_chief(self.strategy):
            content = {
                "real": self._cards().identity(split)["sha256"],
                "resolution": model.resolution,
                **channels_card(self.config),
                "preprocessing": PREPROCESSING,
                "classifier": self.classifier.card(),
            }
            store = self._store(content, count)
        features = stored_features(store, count, batches, f"Real images, {split}", self.strategy)
        if features is not None and not (all_finite(features.logits) and all_finite(features.pool_3)):
            raise UserError(
                f"classifier {self.classifier.handle} returns values that are not finite for the real images of split "
                f"'{split}'; expected a classifier of float32 images in [-1, 1]. If it is one, delete the damaged "
                f"features in {self.cache_dir}"
            )
        return features


def _intra_classes(config: ExperimentConfig) -> list[int]:
    text = config.evaluation.intra_classes
    return parse_classes(text, config.model.num_classes, "evaluation.intra_classes") if text else []
