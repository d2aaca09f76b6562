"""Samples as functions of (weights, seed, index, label)."""

from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from hamgan import random_streams
from hamgan.models import Generator
from hamgan.random_streams import Purpose
from hamgan.replicas import on_all_replicas


def generator_inputs(
    generator: Generator, key: tf.Tensor, *, first: int | tf.Tensor, count: int
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Draws latent vectors and initial bases for examples ``first`` to ``first + count - 1``.

    Returns:
        z, ``(count, z_dim)``, and initial bases, ``(count * num_sections, latent_dim, rank)`` or None.
    """
    z = random_streams.draw(
        "normal", random_streams.fold(key, Purpose.Z), first=first, count=count, shape=(generator.z_dim,)
    )
    return z, hamburger_bases(generator, key, Purpose.GENERATOR_BASES, first=first, count=count)


def hamburger_bases(
    network: keras.Model, key: tf.Tensor, purpose: Purpose, *, first: int | tf.Tensor, count: int
) -> tf.Tensor | None:
    """Draws the initial bases of a network's Hamburger, or None if it has none."""
    hamburger = network.hamburger
    if hamburger is None:
        return None
    sections, latent_dim, rank = hamburger.bases_shape
    bases = random_streams.draw(
        hamburger.ham.initial_distribution,
        random_streams.fold(key, purpose),
        first=first,
        count=count,
        shape=hamburger.bases_shape,
    )
    return tf.reshape(bases, (count * sections, latent_dim, rank))


class Sampler:
    """Generates images in evaluation mode; image i depends on the seed, i and its label, not on the batch.

    Args:
        generator: the network.
        seed: of the latent vectors and initial bases.
        batch: images per call of the network, on all replicas together.
        strategy: whose replicas share the work, of one process; the generator was made in its scope.
    """

    def __init__(
        self, generator: Generator, *, seed: int, batch: int, strategy: tf.distribute.Strategy | None = None
    ) -> None:
        self.generator = generator
        self.batch = batch
        self._key = random_streams.fold(seed, Purpose.SAMPLES)

        def generate(labels: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
            z, bases = generator_inputs(generator, self._key, first=indices[0], count=labels.shape[0])
            return tf.cast(generator(z, labels, training=False, initial_bases=bases), tf.float32)

        self._generate = on_all_replicas(strategy or tf.distribute.get_strategy(), generate)

    def random_labels(self, count: int) -> np.ndarray:
        """Returns uniform labels, int32 ``(count,)``."""
        key = random_streams.fold(self._key, Purpose.LABELS)
        return random_streams.draw_labels(key, first=0, count=count, num_classes=self.generator.num_classes).numpy()

    def batches(self, labels: np.ndarray) -> Iterator[np.ndarray]:
        """Yields one image per label, float32 in [-1, 1], ``(<= batch, resolution, resolution, 3)``."""
        for first in range(0, len(labels), self.batch):
            wanted = labels[first : first + self.batch]
            # One traced shape: the last batch is filled up and cut.
            padded = np.resize(wanted, self.batch).astype(np.int32)
            indices = np.arange(first, first + self.batch, dtype=np.int64)
            yield self._generate(padded, indices)[: len(wanted)]

    def grid(self, classes: list[int], per_class: int) -> np.ndarray:
        """Returns a picture with one class per row, uint8 ``(rows * resolution, columns * resolution, 3)``."""
        labels = np.repeat(np.asarray(classes, np.int32), per_class)
        images = np.concatenate(list(self.batches(labels)))
        return image_grid(images, columns=per_class)


def image_grid(images: np.ndarray, *, columns: int) -> np.ndarray:
    """Lays images out row by row.

    Args:
        images: float in [-1, 1], ``(n, height, width, 3)``; n is a multiple of ``columns``.
        columns: images per row.

    Returns:
        uint8, ``(n / columns * height, columns * width, 3)``.
    """
    count, height, width, channels = images.shape
    rows = count // columns
    pixels = np.clip(np.round((images + 1.0) * 127.5), 0, 255).astype(np.uint8)
    tiles = pixels.reshape(rows, columns, height, width, channels)
    return tiles.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, channels)


def grid_classes(num_classes: int, rows: int = 10) -> list[int]:
    """Returns at most ``rows`` classes, spread evenly over all of them."""
    rows = min(rows, num_classes)
    return [index * num_classes // rows for index in range(rows)]
