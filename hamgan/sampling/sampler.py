"""Samples as functions of (weights, seed, index, label)."""

import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from hamgan import random_streams
from hamgan.distribution.replicas import on_all_replicas
from hamgan.layers.batch_normalization import EvaluationStatistics
from hamgan.layers.class_lookup import class_labels
from hamgan.networks import Generator
from hamgan.random_streams import Purpose
from hamgan.sampling.grids import image_grid


class Sampler:
    """Generates images in evaluation mode; image i depends on the seed, i and its label, not on the batch.

    With ``statistics="batch"``, an image also depends on the other images of its batch, and therefore on ``batch``, on
    where batches begin and on the other labels. The last batch is filled up with more images of the same labels; if
    the number of replicas does not divide a batch, some of its images count twice. Results still repeat.

    Args:
        generator: the network.
        seed: seed of the latent vectors and initial bases.
        batch: number of images per call of the network, on all replicas together.
        strategy: strategy of one process whose replicas share the work; the generator was created in its scope.
        truncation: t, for latent vectors from the normal distribution truncated to [-t, t]: the smaller, the more
            typical and the less varied the images.
        statistics: statistics of batch normalisation: "moving" or "batch".
        postprocess: function that is applied to the images on the replicas, such as a classifier; it returns nested
            tensors with a row for each image.

    Raises:
        ValueError: ``truncation`` is not positive.

    Reference: Brock et al., Large Scale GAN Training for High Fidelity Natural Image Synthesis (ICLR 2019), section
    3.1, for the truncation. They draw again until a number is in range; here, the inverse of the distribution function
    gives a number in range at once.

    Example:
        >>> import numpy as np
        >>> from hamgan.networks import Generator
        >>> from hamgan.sampling.sampler import Sampler
        >>> sampler = Sampler(Generator(resolution=32, num_classes=10, base_channels=4), seed=0, batch=4)
        >>> [images.shape for images in sampler.batches(np.array([3, 3, 7, 7, 7]))]
        [(4, 32, 32, 3), (1, 32, 32, 3)]
    """

    def __init__(
        self,
        generator: Generator,
        *,
        seed: int,
        batch: int,
        strategy: tf.distribute.Strategy | None = None,
        truncation: float | None = None,
        statistics: EvaluationStatistics = "moving",
        postprocess: Callable[[tf.Tensor], Any] = tf.identity,
    ) -> None:
        random_streams.check_truncation(truncation)
        self.generator = generator
        self.batch = batch
        self.truncation = truncation
        self.statistics = statistics
        self.postprocess = postprocess
        self._key = random_streams.fold(seed, Purpose.SAMPLES)
        self._generate_on_all_replicas = on_all_replicas(strategy or tf.distribute.get_strategy(), self._generate)

    def _generate(self, labels: tf.Tensor, indices: tf.Tensor) -> Any:
        inputs = self.generator.draw_inputs(
            self._key, first=indices[0], count=labels.shape[0], labels=labels, truncation=self.truncation
        )
        images = self.generator(*inputs, training=False, statistics=self.statistics)
        return self.postprocess(tf.cast(images, tf.float32))

    def random_labels(self, count: int, *, first: int = 0) -> np.ndarray:
        """Returns uniform labels for images ``first`` to ``first + count - 1``, int32 ``(count,)``."""
        return self.generator.draw_labels(self._key, first=first, count=count).numpy()

    def batches(self, labels: np.ndarray, *, first: int = 0) -> Iterator[Any]:
        """Yields images ``first``, ``first + 1``, ..., one per label.

        Args:
            labels: integers in [0, num_classes), shape ``(n,)``.
            first: index of the image of ``labels[0]``.

        Raises:
            ValueError: labels of another shape, dtype or range.

        Yields:
            Float32 in [-1, 1], shape ``(<= batch, resolution, resolution, 3)``, or what ``postprocess`` made of them.
        """
        # On the host: a compiled generator may drop its own check.
        labels = class_labels(labels, self.generator.num_classes, layer="Sampler").numpy()
        for done in range(0, len(labels), self.batch):
            wanted = labels[done : done + self.batch]
            # One traced shape: the last batch is filled up and cut.
            padded = np.resize(wanted, self.batch)
            indices = np.arange(first + done, first + done + self.batch, dtype=np.int64)
            yield tf.nest.map_structure(
                operator.itemgetter(slice(len(wanted))), self._generate_on_all_replicas(padded, indices)
            )

    def grid(self, classes: list[int], per_class: int) -> np.ndarray:
        """Returns a picture with one class per row, uint8 ``(rows * resolution, columns * resolution, 3)``."""
        labels = np.repeat(np.asarray(classes), per_class)
        images = np.concatenate(list(self.batches(labels)))
        return image_grid(images, columns=per_class)
