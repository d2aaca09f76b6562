"""Reproducible samples of a generator."""

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from hamgan import random_streams
from hamgan.distribution.replicas import on_all_replicas
from hamgan.layers.batch_normalization import EvaluationStatistics
from hamgan.layers.class_lookup import class_labels
from hamgan.layers.fixed_bases import fixed_initial_bases
from hamgan.networks import Generator
from hamgan.random_streams import Purpose
from hamgan.sampling.grids import image_grid


class Sampler:
    """Generates images for labels; image i depends on the weights, the seed, i and its label only.

    With ``statistics="batch"``, an image also depends on the other images in its batch, that is on ``batch``, on
    ``first`` and on the other labels. The last batch is then padded with images of the same labels, and some images
    count twice if the number of replicas does not divide the batch. Results are still reproducible.

    Args:
        generator: generator network.
        seed: integer seed of the latent vectors and initial bases.
        batch: number of images per call of the generator, summed over replicas.
        strategy: single-process strategy whose replicas share the work. Create the generator in its scope.
        truncation: bound t of the truncated normal distribution of latent vectors, which has values in [-t, t]. Small
            values make images more typical and less diverse. None does not truncate.
        class_counts: number of images of each class, in proportion to which random labels are drawn; None draws all
            classes equally often.
        statistics: batch normalisation statistics: "moving" or "batch".
        bases: initial bases: "random" for each image, or "fixed" as in the model that
            :func:`hamgan.layers.fix_bases` returns.
        postprocess: function that replicas apply to the float32 images, such as a classifier. It returns a nest of
            tensors with one row per image.

    Raises:
        ValueError: if ``truncation`` is not positive.

    Reference: Brock et al., Large Scale GAN Training for High Fidelity Natural Image Synthesis (ICLR 2019), section
    3.1, for truncation. They resample values that are out of range; this class applies the inverse cumulative
    distribution function instead.

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
        class_counts: Sequence[int] | None = None,
        statistics: EvaluationStatistics = "moving",
        bases: str = "random",
        postprocess: Callable[[tf.Tensor], Any] = tf.identity,
    ) -> None:
        random_streams.check_truncation(truncation)
        self.generator = generator
        self.batch = batch
        self.truncation = truncation
        self.class_counts = class_counts
        self.statistics = statistics
        self.postprocess = postprocess
        self._fixed_bases = fixed_initial_bases(generator) if bases == "fixed" else None
        self._key = random_streams.fold(seed, Purpose.SAMPLES)
        self._generate_on_all_replicas = on_all_replicas(strategy or tf.distribute.get_strategy(), self._generate)

    def _generate(
        self,
        labels: tf.Tensor,
        indices: tf.Tensor,
        z: tf.Tensor | None = None,
        class_weights: tf.Tensor | None = None,
    ) -> Any:
        inputs = self.generator.draw_inputs(
            self._key, first=indices[0], count=labels.shape[0], labels=labels, truncation=self.truncation
        )
        inputs = inputs if z is None else inputs._replace(z=z)
        if self._fixed_bases is not None:
            tiled = tuple(tf.tile(bases, (labels.shape[0], 1, 1)) for bases in self._fixed_bases)
            inputs = inputs._replace(initial_bases=tiled)
        mixture = {} if class_weights is None else {"class_weights": class_weights}
        images = self.generator(*inputs, training=False, statistics=self.statistics, **mixture)
        return self.postprocess(tf.cast(images, tf.float32))

    def random_labels(self, count: int, *, first: int = 0) -> np.ndarray:
        """Draws random labels for images ``first`` to ``first + count - 1``, int32, shape ``(count,)``."""
        return self.generator.draw_labels(self._key, first=first, count=count, class_counts=self.class_counts).numpy()

    def batches(
        self,
        labels: np.ndarray,
        *,
        first: int = 0,
        z: np.ndarray | None = None,
        class_weights: np.ndarray | None = None,
    ) -> Iterator[Any]:
        """Generates images ``first`` to ``first + n - 1``, one for each label, in batches.

        Args:
            labels: integers in [0, num_classes), shape ``(n,)``.
            first: index of the first image.
            z: latent vector of each image, float32, shape ``(n, z_dim)``; by default, random ones.
            class_weights: mixture of classes of each image, float32, shape ``(n, num_classes)``, which replaces its
                label; with ``z`` only.

        Yields:
            Results of ``postprocess`` for at most ``batch`` images; by default, the images, float32 in [-1, 1], shape
            ``(images, resolution, resolution, channels)``.

        Raises:
            ValueError: if labels have the wrong shape or dtype, or are out of range.
        """
        # Checked on the host, because XLA drops the generator's own check.
        labels = class_labels(labels, self.generator.num_classes, layer="Sampler").numpy()
        for done in range(0, len(labels), self.batch):
            wanted = labels[done : done + self.batch]
            # Padding the last batch avoids a second trace.
            padded = np.resize(wanted, self.batch)
            indices = np.arange(first + done, first + done + self.batch, dtype=np.int64)
            rows = done + np.arange(self.batch) % len(wanted)
            given = [array[rows] for array in (z, class_weights) if array is not None]
            yield tf.nest.map_structure(
                operator.itemgetter(slice(len(wanted))), self._generate_on_all_replicas(padded, indices, *given)
            )

    def grid(self, classes: Sequence[int], per_class: int, *, class_names: Sequence[str]) -> np.ndarray:
        """Generates a grid of images with one row per class, and its name at the left.

        Args:
            classes: class of each row.
            per_class: number of images in each row.
            class_names: name of each class of the generator.

        Returns:
            uint8 array of shape ``(len(classes) * resolution, margin + per_class * resolution, channels)``.
        """
        labels = np.repeat(np.asarray(classes), per_class)
        images = np.concatenate(list(self.batches(labels)))
        return image_grid(images, columns=per_class, row_names=[class_names[label] for label in classes])
