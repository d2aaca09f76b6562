"""The samples of a run as images to score."""

from typing import Any

import tensorflow as tf

from hamgan.evaluation.card import fakes_card
from hamgan.evaluation.evaluate import evaluation_config
from hamgan.evaluation.feature_extractor import FeatureExtractor
from hamgan.evaluation.generated_images import evaluation_sampler, prepare_batch_normalization
from hamgan.evaluation.image_sources import ImageSource
from hamgan.evaluation.stored_features import Batches, with_labels
from hamgan.runs.checkpoints import checkpoint_sha256
from hamgan.sampling.trained import Run
from hamgan.sampling.trained_weights import load_generator


class RunImages(ImageSource):
    """Samples of a run's generator, drawn as ``hamgan evaluate`` draws them, by the run's ``evaluation`` settings.

    They are not rounded to uint8, unless for bicubic resizing. Features are deleted after scoring.

    Args:
        run: loaded run.
        num_samples: number of samples; by default, that of the run's settings.
        truncation: truncation of the latent vectors; by default, that of the run's settings.
        batch: number of images per batch, summed over replicas; by default, that of the run's settings.

    Raises:
        UserError: a setting is out of range.
    """

    in_random_order = True
    keeps_features = False

    def __init__(
        self, run: Run, num_samples: int | None = None, truncation: float | None = None, batch: int | None = None
    ) -> None:
        options = {"truncation": truncation, "batch": batch}
        overrides = [f"evaluation.{name}={value}" for name, value in options.items() if value is not None]
        self.config = evaluation_config(run.config, num_samples=num_samples, overrides=overrides)
        super().__init__(run.path, self.config.evaluation.num_samples)
        self.run = run

    @property
    def resolution(self) -> int:
        """Height and width of the images, in pixels."""
        return self.config.model.resolution

    def card(self) -> dict[str, Any]:
        """Returns kind, count, checkpoint and everything that selects the samples."""
        return {
            "kind": "samples of a run",
            "images": self.count,
            "checkpoint": checkpoint_sha256(self.run.checkpoint),
            **fakes_card(self.config, self.run.weights, self.run.class_counts),
        }

    def content(self, extractor: FeatureExtractor) -> dict[str, Any]:
        """Returns what the features depend on, which includes the size of batches."""
        return {**super().content(extractor), "batch": self.config.evaluation.batch}

    def provenance(self) -> dict[str, Any]:
        """Returns folder and step of the run."""
        return {"source": self.name, "step": self.run.step}

    def features(self, extractor: FeatureExtractor, first: int) -> Batches:
        """Yields features; see :meth:`ImageSource.features`."""
        settings, strategy, class_counts = self.config.evaluation, extractor.strategy, self.run.class_counts
        with strategy.scope():
            generator = load_generator(self.config, self.run.checkpoint, self.run.weights)
        prepare_batch_normalization(generator, settings, strategy=strategy, class_counts=class_counts)
        sampler = evaluation_sampler(
            generator,
            settings,
            strategy=strategy,
            class_counts=class_counts,
            postprocess=extractor.classifier if extractor.resizes_in_graph else tf.identity,
        )
        labels = sampler.random_labels(self.count - first, first=first)
        batches = sampler.batches(labels, first=first)
        if not extractor.resizes_in_graph:
            batches = map(extractor.of_batch, batches)
        return with_labels(batches, labels)
