"""Training of a GAN: what the training loop needs to know about it."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from hamgan.config import ExperimentConfig
from hamgan.counted import counted
from hamgan.data.dataset import ClassificationDataset
from hamgan.data.fitted_config import fitted_config
from hamgan.distribution.strategies import is_multi_worker
from hamgan.errors import UserError
from hamgan.runs.directory import RunDirectory
from hamgan.runs.initialization import Initialization
from hamgan.sampling.grids import grid_classes
from hamgan.sampling.imagenet_names import readable_names
from hamgan.sampling.sampler import Sampler
from hamgan.training.initial_weights import Source, find_source, initialize
from hamgan.training.logit_probe import LogitProbe
from hamgan.training.loop import run_loop
from hamgan.training.preemption import PreemptionWatch, watching
from hamgan.training.real_images import real_image_grid
from hamgan.training.state import TrainState
from hamgan.training.step import TrainStep, part_size
from hamgan.training.task import ExtraValues, Task

_logger = logging.getLogger(__name__)

GRID_COLUMNS = 10


def train(
    config: ExperimentConfig,
    run: RunDirectory,
    strategy: tf.distribute.Strategy,
    watch: PreemptionWatch | None = None,
) -> None:
    """Trains a GAN to ``config.train.steps``, and resumes from the newest checkpoint of the run if there is one.

    Args:
        config: config of the experiment. What it leaves to the data set is set first, see
            :func:`hamgan.data.fitted_config.fitted_config`. When a run is resumed, only the fields in
            :data:`hamgan.training.start.MAY_CHANGE` may differ.
        run: folder of the run.
        strategy: strategy from :func:`hamgan.distribution.strategies.create_strategy`.
        watch: active watch for SIGTERM; by default, a new one.

    Raises:
        UserError, PreemptedError, TrainingDivergedError, CheckpointNotWrittenError: see
            :func:`hamgan.training.loop.run_loop`.
    """
    with watching(watch) as active:
        run_loop(GANTask(config), run, strategy, active)


class GANTask(Task[ClassificationDataset, TrainState, TrainStep]):
    """A GAN on a data set of images and classes.

    Args:
        config: config of the experiment.
    """

    config: ExperimentConfig

    def __init__(self, config: ExperimentConfig) -> None:
        self.config = fitted_config(config)

    def check_batch(self, strategy: tf.distribute.Strategy) -> None:
        """See :class:`Task`."""
        part_size(self.config.train, strategy)

    def find_source(self, path: str, strategy: tf.distribute.Strategy) -> Source:
        """See :class:`Task`."""
        return find_source(path, strategy)

    def open_dataset(self) -> ClassificationDataset:
        """Opens the data set, and reads all labels if their numbers are needed, to find wrong ones."""
        dataset = ClassificationDataset(self.config.data)
        check_classes(self.config, dataset)
        class_counts_of(self.config, dataset)
        return dataset

    def create_state(self) -> TrainState:
        """See :class:`Task`."""
        return TrainState(self.config)

    def initialize(self, state: TrainState, source: Source, dataset: ClassificationDataset) -> Initialization:
        """See :class:`Task`."""
        return initialize(state, source, self.config, dataset.class_names)

    def describe_data(self, run: RunDirectory, dataset: ClassificationDataset) -> None:
        """Writes class names and numbers, and a picture of training images."""
        run.write_class_names(dataset.class_names)
        class_counts = class_counts_of(self.config, dataset)
        if class_counts is not None:
            run.write_class_counts(class_counts)
        if self.config.train.image_every and not run.has_real_images():
            classes = grid_classes(self.config.model.num_classes)
            names = readable_names(dataset.class_names)
            grid = real_image_grid(dataset, self.config.model, classes, GRID_COLUMNS, names)
            try:
                run.write_real_images(grid)
            except UserError as error:  # Pictures are not worth a run.
                _logger.warning("WARNING %s; the report will not show training images", error)

    def create_step(
        self, state: TrainState, dataset: ClassificationDataset, strategy: tf.distribute.Strategy
    ) -> TrainStep:
        """See :class:`Task`."""
        return TrainStep(state, self.config, strategy, class_counts_of(self.config, dataset))

    def create_extra_values(
        self, step: TrainStep, dataset: ClassificationDataset, strategy: tf.distribute.Strategy
    ) -> ExtraValues:
        """Returns the scales of context modules, the largest singular values and logits of a probe."""
        probe = LogitProbe(self.config, dataset, step.state, strategy, step.class_counts)

        def extra_values(singular_values: Mapping[str, float]) -> dict[str, float]:
            values = {}
            for network in (step.state.generator, step.state.discriminator):
                for index, module in enumerate(network.context, start=1):
                    number = "" if index == 1 else f"_{index}"
                    values[f"{network.name}_sigma{number}"] = float(module.sigma.numpy())
                values[f"{network.name}_largest_singular_value"] = max(
                    value for layer, value in singular_values.items() if layer.startswith(f"{network.name}/")
                )
            return {**values, **probe()}

        return extra_values

    def training_batches(self, dataset: ClassificationDataset, **order: Any) -> tf.data.Dataset:
        """See :class:`Task`."""
        model = self.config.model
        return dataset.training_batches(
            resolution=model.resolution, channels=model.channels, batch=self.config.train.global_batch, **order
        )

    def create_pictures(
        self, run: RunDirectory, state: TrainState, dataset: ClassificationDataset, strategy: tf.distribute.Strategy
    ) -> Callable[[], np.ndarray]:
        """Returns a function that draws samples, one class for each row."""
        sampler = Sampler(
            state.sampling_generator,
            seed=self.config.train.seed,
            batch=self.config.evaluation.batch,
            # The other workers do not draw.
            strategy=None if is_multi_worker(strategy) else strategy,
        )
        classes = grid_classes(self.config.model.num_classes)
        class_names = readable_names(run.read_class_names(self.config.model.num_classes))
        return lambda: sampler.grid(classes, GRID_COLUMNS, class_names=class_names)

    def best_step(self, run: RunDirectory) -> int | None:
        """Returns the step with the lowest FID."""
        return run.evaluations.best_step()

    def progress(self, values: Mapping[str, float]) -> dict[str, str]:
        """Returns both losses."""
        return {"D": f"{values['discriminator_loss']:.3f}", "G": f"{values['generator_loss']:.3f}"}


def check_classes(config: ExperimentConfig, dataset: ClassificationDataset) -> None:
    """Raises UserError if the data set and the model differ in the number of classes."""
    if dataset.num_classes != config.model.num_classes:
        raise UserError(
            f"data set '{config.data.dataset}' has {counted(dataset.num_classes, 'class')}, model.num_classes "
            f"is {config.model.num_classes}; pass --override model.num_classes={dataset.num_classes}"
        )


def class_counts_of(config: ExperimentConfig, dataset: ClassificationDataset) -> list[int] | None:
    """Returns the class counts of the training split if the labels of fakes are drawn by them, otherwise None.

    Raises:
        UserError: the training split cannot be read.
    """
    is_uniform = config.train.label_distribution == "uniform"
    return None if is_uniform else dataset.class_counts(dataset.config.train_split)
