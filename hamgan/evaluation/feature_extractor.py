"""A classifier with a way of resizing, which together turn images into features."""

import concurrent.futures
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from hamgan.data.preprocessing import with_channels
from hamgan.distribution.replicas import on_all_replicas
from hamgan.errors import UserError, reason_of
from hamgan.evaluation.classifier import Classifier
from hamgan.evaluation.resizing import BILINEAR, RESIZINGS, check_resizing, resized
from hamgan.sampling.grids import to_uint8

Item = TypeVar("Item")


class FeatureExtractor:
    """Computes the features of images of any size.

    Args:
        classifier: classifier of the features.
        resize: "bilinear" or "bicubic", see :func:`hamgan.evaluation.resizing.resized`.
        strategy: strategy whose replicas run the classifier.
        batch: number of images per batch, summed over replicas.

    Raises:
        UserError: the way of resizing is unknown.
    """

    def __init__(self, classifier: Classifier, resize: str, strategy: tf.distribute.Strategy, batch: int) -> None:
        check_resizing(resize)
        self.classifier = classifier
        self.resize = resize
        self.strategy = strategy
        self.batch = batch
        self._classify = on_all_replicas(strategy, classifier)

    def card(self) -> dict[str, Any]:
        """Returns the entries of a protocol card that describe classifier and resizing."""
        return {**self.classifier.card(), "resize": RESIZINGS[self.resize]}

    def width(self) -> int:
        """Returns the number of features of an image."""
        size = self.classifier.image_size
        return self._outputs(np.zeros((self.batch, size, size, 3), np.float32))["pool_3"].shape[1]

    @property
    def resizes_in_graph(self) -> bool:
        """Whether :meth:`of_batch` is the classifier alone, so that it can run where images are generated."""
        return self.resize == BILINEAR

    def of_pixels(self, items: Iterable[Item], pixels: Callable[[Item], np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
        """Yields the features of single images of any sizes, batch by batch.

        The images of the next batch are read while the classifier runs.

        Args:
            items: what images are read from, such as paths.
            pixels: function from an item to an image, uint8, ``(height, width, 3)``; called in several threads.
        """

        def prepared(item: Item) -> np.ndarray:
            return resized(pixels(item), self.classifier.image_size, self.resize)

        iterator = iter(items)
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:

            def start() -> list[concurrent.futures.Future[np.ndarray]]:
                return [threads.submit(prepared, item) for item in itertools.islice(iterator, self.batch)]

            current = start()
            while current:
                images = np.stack([image.result() for image in current])
                current = start()
                yield self._outputs(images)

    def of_batch(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the features of images of one size that were computed, not read from files.

        For "bicubic", they are rounded to uint8 first, because clean-fid's resizing is defined on files of images.

        Args:
            images: float32 in [-1, 1], ``(n, height, width, 3)``, or ``(n, height, width, 1)`` for gray images.
        """
        if self.resizes_in_graph:
            return self._outputs(images)
        size = self.classifier.image_size
        rounded = to_uint8(with_channels(tf.constant(images), 3).numpy())
        return self._outputs(np.stack([resized(image, size, self.resize) for image in rounded]))

    def _outputs(self, images: np.ndarray) -> dict[str, np.ndarray]:
        try:
            return self._classify(images)
        except (tf.errors.InvalidArgumentError, TypeError, ValueError) as error:
            size = self.classifier.image_size
            raise UserError(
                f"classifier {self.classifier.handle} cannot classify {len(images)} images of {size}x{size} pixels: "
                f"{reason_of(error)}"
            ) from error
