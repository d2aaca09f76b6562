"""What all collections of images to score have in common."""

import abc
from collections.abc import Iterable
from typing import Any

import numpy as np

from hamgan.evaluation.feature_extractor import FeatureExtractor
from hamgan.evaluation.stored_features import Batches

NO_LABEL = -1
"""Label of images that have none."""


class ImageSource(abc.ABC):
    """A collection of images whose features can be computed.

    Attributes:
        name: the collection as the user named it.
        count: number of images.
        in_random_order: whether any part of the images is a random part. Images in files may be sorted by class.
        keeps_features: whether features stay in the cache after scoring.
    """

    in_random_order = False
    keeps_features = True

    def __init__(self, name: str, count: int) -> None:
        self.name = name
        self.count = count

    @abc.abstractmethod
    def card(self) -> dict[str, Any]:
        """Returns the entries of a protocol card: everything that distinguishes these images from others."""

    def content(self, extractor: FeatureExtractor) -> dict[str, Any]:
        """Returns everything that the features depend on, to find them in the cache."""
        return {**self.card(), "classifier": extractor.card()}

    def provenance(self) -> dict[str, Any]:
        """Returns where the images come from, which does not affect scores."""
        return {"source": self.name}

    @abc.abstractmethod
    def features(self, extractor: FeatureExtractor, first: int) -> Batches:
        """Yields the features and labels of images ``first`` to ``count - 1``, batch by batch.

        Raises:
            UserError: the images cannot be read.
        """


def unlabelled(batches: Iterable[dict[str, np.ndarray]]) -> Batches:
    """Yields features with :data:`NO_LABEL` for each image."""
    for outputs in batches:
        yield outputs, np.full(len(outputs["logits"]), NO_LABEL, np.int32)
