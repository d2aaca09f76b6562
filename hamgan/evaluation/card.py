"""Protocol cards: everything that changes a score, recorded beside it."""

import dataclasses
from importlib import metadata
from typing import Any

from hamgan.config import ExperimentConfig, protocols
from hamgan.data.dataset import ClassificationDataset
from hamgan.data.preprocessing import PREPROCESSING
from hamgan.evaluation.classifier import Classifier

EXTRAS = ("bootstrap", "fid_infinity", "intra_classes")
"""Settings that ask for scores beside the others, and change none of them."""
_PACKAGES = ("hamgan", "tensorflow", "tensorflow-gan", "keras", "numpy")


class CardMaker:
    """Describes how the results of an evaluation are made.

    Args:
        config: config of the experiment, with the settings of its ``evaluation``.
        dataset: data set that the fakes are compared with.
        classifier: classifier whose features are compared.
        cache_dir: local folder where digests of the data are kept.
    """

    def __init__(
        self, config: ExperimentConfig, dataset: ClassificationDataset, classifier: Classifier, cache_dir: str
    ) -> None:
        self.config = config
        self.dataset = dataset
        self.classifier = classifier
        self.cache_dir = cache_dir

    def card(self, weights: str) -> dict[str, Any]:
        """Returns how results for these weights, "ema" or "raw", are made: a protocol card.

        It holds what changes a score, and the names of the data set and the classifier;
        see :func:`hamgan.config.protocols.card_id`. The contents of the data set are digested the first time.
        """
        settings, data = self.config.evaluation, self.config.data
        return {
            "protocol": protocols.describe(settings),
            **self.fakes_card(weights),
            "repeats": settings.repeats,
            "images": {
                "fake": settings.num_samples,
                "validation": self._images(data.validation_split),
                "train": self._images(data.train_split),
                "neighbors": settings.neighbors_samples,
            },
            "preprocessing": PREPROCESSING,
            "validation": self.identity(data.validation_split),
            "train": self.identity(data.train_split),
        }

    def fakes_card(self, weights: str) -> dict[str, Any]:
        """Returns what the features of a checkpoint's fakes depend on."""
        settings = self.config.evaluation
        batch_norm = settings.batch_norm
        if batch_norm != "moving":
            passes = f"{settings.standing_passes} batches" if batch_norm == "standing" else "each batch"
            batch_norm += f" ({passes} of {settings.batch})"
        return {
            "weights": weights,
            "batch_norm": batch_norm,
            "truncation": settings.truncation,
            "seed": settings.seed,
            "resolution": self.config.model.resolution,
            "classifier": self.classifier.card(),
        }

    def provenance(self) -> dict[str, Any]:
        """Returns what is recorded beside a card and changes no score: versions, batch, and place of the data."""
        splits = {"validation": self.config.data.validation_split, "train": self.config.data.train_split}
        return {
            "versions": {name: metadata.version(name) for name in _PACKAGES},
            "batch": self.config.evaluation.batch,
            "data": {name: self.dataset.provenance(split) for name, split in splits.items()},
        }

    def identity(self, split: str) -> dict[str, Any]:
        """Returns the identity of the images of a split that are used, by their contents."""
        return self.dataset.identity(split, self._images(split), self.cache_dir)

    def _images(self, split: str) -> int:
        return images_used(self.config, self.dataset, split)


def images_used(config: ExperimentConfig, dataset: ClassificationDataset, split: str) -> int:
    """Returns the number of images of a split that an evaluation uses."""
    settings = config.evaluation
    if settings.wrap_validation and split == config.data.validation_split:
        return settings.num_samples
    return min(settings.num_samples, dataset.num_examples(split))


def extras_of(config: ExperimentConfig) -> dict[str, Any]:
    """Returns the settings that ask for scores beside the others."""
    settings = dataclasses.asdict(config.evaluation)
    return {name: settings[name] for name in EXTRAS}
