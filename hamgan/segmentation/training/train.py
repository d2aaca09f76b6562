"""Training of a segmentation network: what the training loop needs to know about it."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from hamgan.config import SegmentationConfig
from hamgan.counted import counted
from hamgan.distribution.strategies import replica_batch
from hamgan.errors import UserError
from hamgan.runs.directory import RunDirectory
from hamgan.runs.initialization import Initialization
from hamgan.segmentation.data.dataset import SegmentationDataset
from hamgan.segmentation.data.fitted_config import fitted_config
from hamgan.segmentation.evaluation.evaluate_run import configured_settings
from hamgan.segmentation.evaluation.mask_scores_files import best_step
from hamgan.segmentation.training.initial_network import Source, find_source, initialize
from hamgan.segmentation.training.pictures import TrainPictures
from hamgan.segmentation.training.state import SegmentationState
from hamgan.segmentation.training.step import SegmentationStep
from hamgan.training.loop import run_loop
from hamgan.training.preemption import PreemptionWatch, watching
from hamgan.training.task import ExtraValues, Task


def train(
    config: SegmentationConfig,
    run: RunDirectory,
    strategy: tf.distribute.Strategy,
    watch: PreemptionWatch | None = None,
) -> None:
    """Trains a segmentation network to ``config.train.steps``, and resumes from the newest checkpoint of the run.

    Args:
        config: config of the experiment. What it leaves to the data set is set first, see
            :func:`hamgan.segmentation.data.fitted_config.fitted_config`. When a run is resumed, only the fields in
            :data:`hamgan.training.start.MAY_CHANGE` may differ.
        run: folder of the run.
        strategy: strategy from :func:`hamgan.distribution.strategies.create_strategy`.
        watch: active watch for SIGTERM; by default, a new one.

    Raises:
        UserError, PreemptedError, TrainingDivergedError, CheckpointNotWrittenError: see
            :func:`hamgan.training.loop.run_loop`.
    """
    with watching(watch) as active:
        run_loop(SegmentationTask(config), run, strategy, active)


class SegmentationTask(Task[SegmentationDataset, SegmentationState, SegmentationStep]):
    """A segmentation network on a data set of images and masks.

    Args:
        config: config of the experiment.
    """

    config: SegmentationConfig

    def __init__(self, config: SegmentationConfig) -> None:
        self.config = fitted_config(config)

    @property
    def settled_fields(self) -> tuple[str, ...]:
        """The number of steps, if the learning rate depends on it."""
        return () if self.config.train.schedule == "constant" else ("train.steps",)

    def check_batch(self, strategy: tf.distribute.Strategy) -> None:
        """See :class:`Task`."""
        replica_batch(self.config.train.global_batch, strategy)

    def find_source(self, path: str, strategy: tf.distribute.Strategy) -> Source:
        """See :class:`Task`."""
        return find_source(path, strategy)

    def open_dataset(self) -> SegmentationDataset:
        """See :class:`Task`."""
        dataset, expected = SegmentationDataset(self.config.data), self.config.model.num_classes
        if dataset.num_classes != expected:
            raise UserError(
                f"data set '{self.config.data.dataset}' has {counted(dataset.num_classes, 'class')}, model.num_classes "
                f"is {expected}; pass --override model.num_classes={dataset.num_classes}"
            )
        return dataset

    def create_state(self) -> SegmentationState:
        """See :class:`Task`."""
        return SegmentationState(self.config)

    def initialize(self, state: SegmentationState, source: Source, dataset: SegmentationDataset) -> Initialization:
        """See :class:`Task`."""
        return initialize(state.network, source)

    def describe_data(self, run: RunDirectory, dataset: SegmentationDataset) -> None:
        """Writes the class names."""
        run.write_class_names(dataset.class_names)

    def create_step(
        self, state: SegmentationState, dataset: SegmentationDataset, strategy: tf.distribute.Strategy
    ) -> SegmentationStep:
        """See :class:`Task`."""
        return SegmentationStep(state, self.config, strategy)

    def create_extra_values(
        self, step: SegmentationStep, dataset: SegmentationDataset, strategy: tf.distribute.Strategy
    ) -> ExtraValues:
        """Returns a function without values: the metrics are enough."""
        return lambda singular_values: {}

    def training_batches(self, dataset: SegmentationDataset, **order: Any) -> tf.data.Dataset:
        """See :class:`Task`."""
        return dataset.training_batches(self.config.augmentation, batch=self.config.train.global_batch, **order)

    def create_pictures(
        self,
        run: RunDirectory,
        state: SegmentationState,
        dataset: SegmentationDataset,
        strategy: tf.distribute.Strategy,
    ) -> Callable[[], np.ndarray]:
        """Returns a function that draws validation images with their masks and predictions."""
        return TrainPictures(state.network, dataset, configured_settings(self.config))

    def best_step(self, run: RunDirectory) -> int | None:
        """Returns the step with the highest mIoU."""
        return best_step(run)

    def progress(self, values: Mapping[str, float]) -> dict[str, str]:
        """Returns loss and pixel accuracy."""
        return {"loss": f"{values['loss']:.3f}", "accuracy": f"{values['pixel_accuracy']:.3f}"}
