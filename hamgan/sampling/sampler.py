"""Samples as functions of (weights, seed, index, label)."""

import operator
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hamgan import random_streams
from hamgan.config import BATCH_NORM_MODES
from hamgan.distribution.replicas import on_all_replicas
from hamgan.layers.batch_normalization import batch_normalization_layers
from hamgan.layers.class_lookup import class_labels
from hamgan.networks import Generator
from hamgan.random_streams import Purpose


def generator_inputs(
    generator: Generator, key: tf.Tensor, *, first: int | tf.Tensor, count: int, truncation: float | None = None
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Draws latent vectors and initial bases for examples ``first`` to ``first + count - 1``.

    Args:
        generator: the network.
        key: key of the stream.
        first: index of the first example.
        count: number of examples.
        truncation: t, for z from the normal distribution truncated to [-t, t]; the bases stay as they are.

    Returns:
        z, ``(count, z_dim)``, and initial bases, ``(count * num_sections, latent_dim, rank)`` or None.
    """
    z = random_streams.draw(
        "normal",
        random_streams.fold(key, Purpose.Z),
        first=first,
        count=count,
        shape=(generator.z_dim,),
        truncation=truncation,
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

    Except under ``set_batch_norm(generator, "batch")``: there an image depends on the whole batch that it is made in,
    and so on ``batch``, on where the batches begin and on the labels beside its own. The last batch is filled up
    with more images of the same labels, and where the replicas do not divide a batch some of its images count twice.
    All of that is the same from one time to the next.

    Args:
        generator: the network.
        seed: seed of the latent vectors and initial bases.
        batch: images per call of the network, on all replicas together.
        strategy: strategy whose replicas share the work, of one process; the generator was created in its scope.
        truncation: t, for latent vectors from the normal distribution truncated to [-t, t]: the smaller, the more
            typical and the less varied the images.
        postprocess: function of the images that runs on the replicas, such as a classifier; it returns nested tensors
            with a row for each image.

    Raises:
        ValueError: ``truncation`` is not positive.

    Reference: Brock et al., Large Scale GAN Training for High Fidelity Natural Image Synthesis (ICLR 2019), section
    3.1, for the truncation; which is by the inverse of the distribution function instead of drawing again.
    """

    def __init__(
        self,
        generator: Generator,
        *,
        seed: int,
        batch: int,
        strategy: tf.distribute.Strategy | None = None,
        truncation: float | None = None,
        postprocess: Callable[[tf.Tensor], Any] = tf.identity,
    ) -> None:
        random_streams.check_truncation(truncation)
        self.generator = generator
        self.batch = batch
        self.truncation = truncation
        self.postprocess = postprocess
        self._strategy = strategy or tf.distribute.get_strategy()
        self._key = random_streams.fold(seed, Purpose.SAMPLES)
        self._compiled: dict[tuple[str, ...], Callable[..., Any]] = {}

    def _generate(self, labels: tf.Tensor, indices: tf.Tensor) -> Any:
        z, bases = generator_inputs(
            self.generator, self._key, first=indices[0], count=labels.shape[0], truncation=self.truncation
        )
        return self.postprocess(tf.cast(self.generator(z, labels, training=False, initial_bases=bases), tf.float32))

    def _compiled_generate(self) -> Callable[..., Any]:
        # What the layers normalise with is fixed when a function is traced.
        statistics = tuple(layer.evaluation_statistics for layer in batch_normalization_layers(self.generator))
        if statistics not in self._compiled:
            self._compiled[statistics] = on_all_replicas(self._strategy, self._generate)
        return self._compiled[statistics]

    def random_labels(self, count: int, *, first: int = 0) -> np.ndarray:
        """Returns uniform labels for images ``first`` to ``first + count - 1``, int32 ``(count,)``."""
        key = random_streams.fold(self._key, Purpose.LABELS)
        return random_streams.draw_labels(key, first=first, count=count, num_classes=self.generator.num_classes).numpy()

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
        generate = self._compiled_generate()
        for done in range(0, len(labels), self.batch):
            wanted = labels[done : done + self.batch]
            # One traced shape: the last batch is filled up and cut.
            padded = np.resize(wanted, self.batch)
            indices = np.arange(first + done, first + done + self.batch, dtype=np.int64)
            yield tf.nest.map_structure(operator.itemgetter(slice(len(wanted))), generate(padded, indices))

    def grid(self, classes: list[int], per_class: int) -> np.ndarray:
        """Returns a picture with one class per row, uint8 ``(rows * resolution, columns * resolution, 3)``."""
        labels = np.repeat(np.asarray(classes), per_class)
        images = np.concatenate(list(self.batches(labels)))
        return image_grid(images, columns=per_class)


def set_batch_norm(
    generator: Generator,
    mode: str,
    *,
    seed: int,
    batch: int,
    passes: int,
    strategy: tf.distribute.Strategy | None = None,
    truncation: float | None = None,
) -> None:
    """Chooses what the generator's batch normalisation uses when it samples; changes the generator.

    "moving": the moving averages, which a generator starts with. "batch": the statistics of each batch of samples.
    "standing": the moving averages are replaced by the mean, over ``passes`` batches of samples with random labels, of
    each batch's statistics. Give it a restored copy: the moving averages that training left are gone.

    Args:
        generator: the network.
        mode: one of the three above; all arguments below matter to "standing" alone.
        seed: seed of labels, latent vectors and initial bases, on a stream of their own.
        batch: samples per pass, on all replicas together; they must divide it, so that no sample counts twice and the
            statistics are, up to rounding, the same on any number of them.
        passes: number of batches.
        strategy: strategy whose replicas share the work, of one process; the generator was created in its scope.
        truncation: truncation of the latent vectors, as in :class:`Sampler`, since the statistics depend on it.

    Raises:
        ValueError: another mode, or an argument of "standing" is out of its range. The generator stays as it was.

    Reference: Brock et al. (ICLR 2019), appendix on experimental details (standing statistics).
    """
    if mode not in BATCH_NORM_MODES:
        raise ValueError(f"mode must be one of {BATCH_NORM_MODES}, received {mode!r}")
    if mode == "standing":
        _set_standing_statistics(
            generator,
            random_streams.fold(seed, Purpose.STANDING_STATISTICS),
            batch=batch,
            passes=passes,
            strategy=strategy or tf.distribute.get_strategy(),
            truncation=truncation,
        )
    for layer in batch_normalization_layers(generator):
        layer.evaluation_statistics = "batch" if mode == "batch" else "moving"


def _set_standing_statistics(
    generator: Generator,
    key: tf.Tensor,
    *,
    batch: int,
    passes: int,
    strategy: tf.distribute.Strategy,
    truncation: float | None,
) -> None:
    random_streams.check_truncation(truncation)
    if passes < 1:
        raise ValueError(f"passes must be positive, received {passes}")
    if batch < 1 or batch % strategy.num_replicas_in_sync:
        raise ValueError(
            f"batch must be a positive multiple of the {strategy.num_replicas_in_sync} replicas, received {batch}"
        )

    def accumulate(indices: tf.Tensor) -> tf.Tensor:
        first, count = indices[0], indices.shape[0]
        labels = random_streams.draw_labels(
            random_streams.fold(key, Purpose.LABELS), first=first, count=count, num_classes=generator.num_classes
        )
        z, bases = generator_inputs(generator, key, first=first, count=count, truncation=truncation)
        generator(z, labels, training=False, initial_bases=bases)
        # There is nothing to hand back but the rows that are asked for.
        return tf.zeros((count,))

    for layer in batch_normalization_layers(generator):
        for statistic in (layer.moving_mean, layer.moving_variance):
            statistic.assign(tf.zeros_like(statistic))
        layer.evaluation_statistics = "accumulate"
        layer.accumulation_weight = 1 / passes
    accumulate_on_all_replicas = on_all_replicas(strategy, accumulate)
    for done in range(passes):
        accumulate_on_all_replicas(np.arange(done * batch, (done + 1) * batch, dtype=np.int64))


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
