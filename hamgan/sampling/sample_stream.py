"""Samples of a run, batch by batch."""

import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hamgan.errors import UserError
from hamgan.networks import Generator
from hamgan.sampling.batch_statistics import set_standing_statistics
from hamgan.sampling.grids import to_uint8
from hamgan.sampling.latents import Latents, check_latents, read_latents
from hamgan.sampling.sample_settings import SampleSettings
from hamgan.sampling.sampler import Sampler

if TYPE_CHECKING:
    from hamgan.sampling.trained import Run


_recent: weakref.WeakKeyDictionary["Run", tuple[Any, Sampler]] = weakref.WeakKeyDictionary()
"""The last sampler of each run, with what determines it."""


class SampleStream:
    """Samples of a run, in memory for one batch at a time.

    Image i depends only on the weights, the settings, i and its label. With ``batch_norm="batch"``, it also depends on
    the other images of its batch.

    Args:
        run: run whose generator draws the samples.
        settings: settings of the samples.
        labels: label of each image.
        count: number of images, with random labels in the distribution of the run's training, as in evaluation; instead
            of ``labels``.
        latents: latent vectors and class weights of the images; instead of ``labels`` and random latent vectors.

    Raises:
        UserError: if ``labels`` are empty.

    Attributes:
        labels: label of each image, int32, shape ``(n,)``. For class weights, the class with the largest share.
    """

    def __init__(
        self,
        run: "Run",
        settings: SampleSettings,
        *,
        labels: Sequence[int] | np.ndarray | None = None,
        count: int | None = None,
        latents: Latents | None = None,
    ) -> None:
        if labels is not None and not len(labels):
            raise UserError("classes must name at least one class, found none")
        if latents is not None:
            labels = latents.class_weights.argmax(1)
        self._given = _given(latents)
        number = count or 0 if labels is None else len(labels)
        self.batch = min(settings.batch, number)
        uses_counts = labels is None or settings.batch_norm == "standing"
        self._sampler = _sampler(run, settings, self.batch, run.class_counts if uses_counts else None)
        self.labels = self._sampler.random_labels(number) if labels is None else np.asarray(labels, np.int32)

    def batches(
        self, is_needed: Callable[[int, int], bool] = lambda first, last: True
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Draws the samples.

        Args:
            is_needed: function of the first index of a batch and the index after its last, which tells whether to draw
                the batch.

        Yields:
            Index of the first image, and images, uint8, shape ``(images, resolution, resolution, channels)``.
        """
        for first in range(0, len(self.labels), self.batch):
            last = min(first + self.batch, len(self.labels))
            if is_needed(first, last):
                given = {name: None if rows is None else rows[first:last] for name, rows in self._given.items()}
                (images,) = self._sampler.batches(self.labels[first:last], first=first, **given)
                yield first, to_uint8(images)


def latents_for(run: "Run", latents: Latents | str | None) -> Latents | None:
    """Returns latent vectors for a run's generator, read from a file if they are a path; None for None.

    Raises:
        UserError: if the file cannot be read, or if the latent vectors do not fit the generator.
    """
    model = run.config.model
    z_dim, num_classes = model.generator.z_dim, model.num_classes
    if isinstance(latents, str):
        return read_latents(latents, z_dim=z_dim, num_classes=num_classes)
    if latents is not None:
        latents = Latents(*(np.asarray(rows, np.float32) for rows in latents))
        check_latents(latents, z_dim=z_dim, num_classes=num_classes, source="latents")
    return latents


def _sampler(run: "Run", settings: SampleSettings, batch: int, class_counts: Sequence[int] | None) -> Sampler:
    """Returns the sampler of the previous call if it is the same, because a new one is compiled again."""
    key = (settings, batch, class_counts)
    recent_key, sampler = _recent.get(run, (None, None))
    if sampler is None or recent_key != key:
        sampler = Sampler(
            _generator(run, settings, class_counts),
            seed=settings.seed,
            batch=batch,
            truncation=settings.truncation,
            class_counts=class_counts,
            statistics="batch" if settings.batch_norm == "batch" else "moving",
        )
        _recent[run] = (key, sampler)
    return sampler


def _generator(run: "Run", settings: SampleSettings, class_counts: Sequence[int] | None) -> Generator:
    if settings.batch_norm != "standing":
        return run.generator
    from hamgan.sampling.trained_weights import load_generator

    # A generator of its own, because standing statistics replace the moving averages.
    generator = load_generator(run.config, run.checkpoint, run.weights)
    set_standing_statistics(
        generator,
        seed=settings.seed,
        batch=settings.batch,
        passes=run.config.evaluation.standing_passes,
        truncation=settings.truncation,
        class_counts=class_counts,
    )
    return generator


def _given(latents: Latents | None) -> dict[str, np.ndarray | None]:
    """Returns the arguments of the sampler: class weights only if they mix classes, because labels are exact."""
    if latents is None:
        return {"z": None, "class_weights": None}
    is_mixed = bool((latents.class_weights.max(1) < 1).any())
    return {"z": latents.z, "class_weights": latents.class_weights if is_mixed else None}
