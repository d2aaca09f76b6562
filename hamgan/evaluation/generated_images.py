"""Images of a generator as an evaluation draws them: by the seed, truncation and batch statistics of its settings."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from hamgan.config import EvaluationConfig
from hamgan.networks import Generator
from hamgan.sampling.batch_statistics import set_standing_statistics
from hamgan.sampling.sampler import Sampler


def evaluation_sampler(
    generator: Generator,
    settings: EvaluationConfig,
    *,
    strategy: tf.distribute.Strategy,
    class_counts: Sequence[int] | None,
    postprocess: Callable[[tf.Tensor], Any],
) -> Sampler:
    """Returns the sampler of an evaluation.

    Args:
        generator: generator network.
        settings: settings of the evaluation.
        strategy: strategy whose replicas share the work.
        class_counts: class counts by which labels are drawn; None for uniform labels.
        postprocess: function that replicas apply to the images, as in :class:`hamgan.sampling.sampler.Sampler`.
    """
    return Sampler(
        generator,
        seed=settings.seed,
        batch=settings.batch,
        strategy=strategy,
        truncation=settings.truncation,
        class_counts=class_counts,
        statistics="batch" if settings.batch_norm == "batch" else "moving",
        bases=settings.bases,
        postprocess=postprocess,
    )


def prepare_batch_normalization(
    generator: Generator,
    settings: EvaluationConfig,
    *,
    strategy: tf.distribute.Strategy,
    class_counts: Sequence[int] | None,
) -> None:
    """Sets the standing statistics of a generator, in place, if the settings of an evaluation ask for them.

    The arguments are those of :func:`evaluation_sampler`.
    """
    if settings.batch_norm == "standing":
        set_standing_statistics(
            generator,
            seed=settings.seed,
            batch=settings.batch,
            passes=settings.standing_passes,
            strategy=strategy,
            truncation=settings.truncation,
            class_counts=class_counts,
        )
