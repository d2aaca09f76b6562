"""Protocol cards, which record with each result everything that affects its scores."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from hamgan.config import ExperimentConfig, protocols
from hamgan.data.dataset import ClassificationDataset
from hamgan.data.preprocessing import PREPROCESSING
from hamgan.evaluation.classifier import Classifier

EXTRAS = ("bootstrap", "fid_infinity", "intra_classes")
"""Settings that request additional scores and do not affect the others."""
_PACKAGES = ("hamgan", "tensorflow", "tensorflow-gan", "keras", "numpy")


class CardMaker:
    """Makes the protocol cards of an evaluation.

    Args:
        config: config of the experiment; ``config.evaluation`` holds the settings of the evaluation.
        dataset: data set of the real images.
        classifier: classifier that computes the features.
        cache_dir: local folder for digests of the data.
        class_counts: class counts by which labels of fakes are drawn; None for uniform labels.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        dataset: ClassificationDataset,
        classifier: Classifier,
        cache_dir: str,
        class_counts: Sequence[int] | None = None,
    ) -> None:
        self.config = config
        self.dataset = dataset
        self.classifier = classifier
        self.cache_dir = cache_dir
        self.class_counts = class_counts

    def card(self, weights: str) -> dict[str, Any]:
        """Returns the protocol card of results for some weights.

        The card holds everything that affects a score, and the names of the data set and the classifier; see
        :func:`hamgan.config.protocols.card_id`. The first call hashes the images of the data set.

        Args:
            weights: "ema" or "raw".
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
        """Returns the part of the card that describes everything that affects the features of fakes."""
        return {**fakes_card(self.config, weights, self.class_counts), "classifier": self.classifier.card()}

    def provenance(self) -> dict[str, Any]:
        """Returns a record of versions, batch size and location of the data, which do not affect scores."""
        splits = {"validation": self.config.data.validation_split, "train": self.config.data.train_split}
        return {
            "versions": {name: metadata.version(name) for name in _PACKAGES},
            "batch": self.config.evaluation.batch,
            "data": {name: self.dataset.provenance(split) for name, split in splits.items()},
        }

    def identity(self, split: str) -> dict[str, Any]:
        """Returns the identity of the images used from a split, which depends on their contents."""
        return self.dataset.identity(split, self._images(split), self.cache_dir)

    def _images(self, split: str) -> int:
        return images_used(self.config, self.dataset, split)


def fakes_card(config: ExperimentConfig, weights: str, class_counts: Sequence[int] | None = None) -> dict[str, Any]:
    """Returns the entries of a card that describe how images are generated from given weights.

    Args:
        config: config of the run, with the settings of the evaluation.
        weights: "ema" or "raw".
        class_counts: class counts by which labels are drawn; None for uniform labels.
    """
    settings = config.evaluation
    batch_norm = settings.batch_norm
    if batch_norm != "moving":
        passes = f"{settings.standing_passes} batches" if batch_norm == "standing" else "each batch"
        batch_norm += f" ({passes} of {settings.batch})"
    return {
        "weights": weights,
        **_labels_card(config.train.label_distribution, class_counts),
        "batch_norm": batch_norm,
        **_bases_card(settings.bases),
        "truncation": settings.truncation,
        "seed": settings.seed,
        "resolution": config.model.resolution,
        **channels_card(config),
    }


def _labels_card(distribution: str, class_counts: Sequence[int] | None) -> dict[str, Any]:
    """Returns the entry for the distribution of labels; none for uniform labels, as in earlier cards."""
    if distribution == "uniform":
        return {}
    if class_counts is None:
        raise ValueError(f"train.label_distribution '{distribution}' requires class_counts, received None")
    digest = hashlib.sha256(json.dumps(list(class_counts)).encode()).hexdigest()
    return {"label_distribution": f"{distribution}, class counts {digest[:16]}"}


def channels_card(config: ExperimentConfig) -> dict[str, Any]:
    """Returns the entry of a card for the number of channels; none for RGB, as in earlier cards."""
    return {} if config.model.channels == 3 else {"channels": config.model.channels}


def images_used(config: ExperimentConfig, dataset: ClassificationDataset, split: str) -> int:
    """Returns the number of images of a split that an evaluation uses."""
    settings = config.evaluation
    if settings.wrap_validation and split == config.data.validation_split:
        return settings.num_samples
    return min(settings.num_samples, dataset.num_examples(split))


def extras_of(config: ExperimentConfig) -> dict[str, Any]:
    """Returns the settings that request additional scores."""
    settings = dataclasses.asdict(config.evaluation)
    return {name: settings[name] for name in EXTRAS}


def _bases_card(bases: str) -> dict[str, Any]:
    """Returns the entry for the initial bases; none for random ones, as in earlier cards."""
    return {} if bases == "random" else {"bases": bases}
