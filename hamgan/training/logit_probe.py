"""Mean logits of the discriminator on training, validation and generated images: they show overfitting."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from hamgan import random_streams
from hamgan.config import ExperimentConfig
from hamgan.data.dataset import ClassificationDataset
from hamgan.distribution.replicas import on_all_replicas
from hamgan.random_streams import Purpose
from hamgan.training.state import TrainState

PROBE_IMAGES = 64
"""Maximum number of images of each kind."""
NAMES = ("train_logits", "validation_logits", "generated_logits")
"""Names of the mean logits in the log."""


class LogitProbe:
    """Measures the mean logits of the discriminator on fixed images, without augmentation.

    A discriminator that learns its training images by heart scores validation images as it scores fakes. All processes
    must make the same calls.

    Args:
        config: config of the experiment.
        dataset: data set with both splits, of which the first images are used.
        state: networks to measure. They stay unchanged.
        strategy: strategy that runs the networks.
        class_counts: class counts by which labels of fakes are drawn, as in :class:`hamgan.training.step.TrainStep`.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        dataset: ClassificationDataset,
        state: TrainState,
        strategy: tf.distribute.Strategy,
        class_counts: Sequence[int] | None = None,
    ) -> None:
        model = config.model
        splits = (config.data.train_split, config.data.validation_split)
        count = min(PROBE_IMAGES, *(dataset.num_examples(split) for split in splits))
        self._arguments = [np.arange(count)]
        for split in splits:
            batches = dataset.evaluation_batches(
                split, resolution=model.resolution, channels=model.channels, batch=count, last=count
            )
            with dataset.reading(split):
                self._arguments += next(batches.as_numpy_iterator())
        key = random_streams.fold(config.train.seed, Purpose.LOGIT_PROBE)

        def logits(
            indices: tf.Tensor,
            train_images: tf.Tensor,
            train_labels: tf.Tensor,
            validation_images: tf.Tensor,
            validation_labels: tf.Tensor,
        ) -> dict[str, tf.Tensor]:
            first, rows = indices[0], tf.shape(indices)[0]
            inputs = state.generator.draw_inputs(key, first=first, count=rows, class_counts=class_counts)
            fakes = state.generator(*inputs, training=False, statistics="batch")
            bases = state.discriminator.draw_initial_bases(
                key, Purpose.DISCRIMINATOR_BASES_REAL, first=first, count=rows
            )
            images = [tf.cast(each, fakes.dtype) for each in (train_images, validation_images)]
            scored = state.discriminator(
                tf.concat([*images, fakes], axis=0),
                tf.concat([train_labels, validation_labels, inputs.labels], axis=0),
                training=False,
                initial_bases=tuple(tf.tile(each, (len(NAMES), 1, 1)) for each in bases),
            )
            return dict(zip(NAMES, tf.split(scored, len(NAMES)), strict=True))

        self._logits = on_all_replicas(strategy, logits)

    def __call__(self) -> dict[str, float]:
        """Returns the mean logits by name, see :data:`NAMES`."""
        return {name: float(np.mean(logits)) for name, logits in self._logits(*self._arguments).items()}
