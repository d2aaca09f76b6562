"""The start of training: creates a new run or resumes an existing one."""

import dataclasses
import logging
import os

import tensorflow as tf

from hamgan.config import ExperimentConfig, differences
from hamgan.data.dataset import ClassificationDataset
from hamgan.distribution.strategies import agreed, describe, is_chief
from hamgan.errors import UserError
from hamgan.runs.checkpoints import checkpoint_path, checkpoint_steps, restore, restore_newest
from hamgan.runs.directory import RunDirectory
from hamgan.runs.lock import RunLock
from hamgan.sampling.grids import grid_classes
from hamgan.sampling.imagenet_names import readable_names
from hamgan.training.initial_weights import Source, find_source, initialize
from hamgan.training.real_images import real_image_grid
from hamgan.training.run_files import GRID_COLUMNS
from hamgan.training.state import TrainState

_logger = logging.getLogger(__name__)

MAY_CHANGE = (
    "data.data_dir",
    "train.steps",
    "train.steps_per_loop",
    "train.checkpoint_every",
    "train.max_to_keep",
    "train.image_every",
    "train.on_collapse",
    "train.max_rollbacks",
    "evaluation.",
)
"""Settings that a resumed run may change: the weights at a given step do not depend on them."""


def begin(
    config: ExperimentConfig, run: RunDirectory, strategy: tf.distribute.Strategy, lock: RunLock
) -> tuple[ClassificationDataset, TrainState]:
    """Opens the data set and builds the networks. Creates the folder of a new run after everything else has succeeded.

    The networks of a run without checkpoints start from the weights that ``train.init_from`` names.

    Raises:
        UserError: the data set does not fit the model, the run has another config, its folder cannot be written,
            another process trains the run, or ``train.init_from`` cannot be read or does not fit.
    """
    is_new = not run.exists()
    if is_chief(strategy):
        run.check_unused() if is_new else lock.acquire()
    if not is_new:
        _check_same_experiment(config, run)
    source = _source_of_new_run(config, run, strategy)
    dataset = ClassificationDataset(config.data)
    check_classes(config, dataset)
    class_counts_of(config, dataset)  # Reads all labels, to find wrong ones before the run is created.
    with strategy.scope():
        state = TrainState(config)
        initialization = None if source is None else initialize(state, source, config, dataset.class_names)
    if is_new and is_chief(strategy):
        lock.acquire()
        if run.exists():
            _check_same_experiment(config, run)
        else:
            run.create(config)
    if initialization is not None and is_chief(strategy):
        run.write_initialization(initialization)
        for line in initialization.lines():
            _logger.info("%s", line)
    return dataset, state


def _source_of_new_run(config: ExperimentConfig, run: RunDirectory, strategy: tf.distribute.Strategy) -> Source | None:
    """The checkpoint to start from, unless the run has a checkpoint of its own."""
    if config.train.init_from is None:
        return None
    has_checkpoint = is_chief(strategy) and bool(checkpoint_steps(run.checkpoints))
    return None if agreed(strategy, int(has_checkpoint)) else find_source(config.train.init_from, strategy)


def resume(
    config: ExperimentConfig,
    run: RunDirectory,
    strategy: tf.distribute.Strategy,
    dataset: ClassificationDataset,
    state: TrainState,
) -> None:
    """Restores the newest checkpoint, if there is one, and removes later steps from the log.

    Raises:
        UserError: no checkpoint can be read, or the run is already beyond ``train.steps``.
    """
    restored = restore_on_all_workers(run, state, strategy)
    step = int(state.step.numpy())
    if step > config.train.steps:
        raise UserError(f"{run.path} is at step {step}, beyond train.steps {config.train.steps}; override train.steps")
    if is_chief(strategy):
        run.write_config(config)
        run.write_class_names(dataset.class_names)
        class_counts = class_counts_of(config, dataset)
        if class_counts is not None:
            run.write_class_counts(class_counts)
        if config.train.image_every and not run.has_real_images():
            classes = grid_classes(config.model.num_classes)
            names = readable_names(dataset.class_names)
            grid = real_image_grid(dataset, config.model, classes, GRID_COLUMNS, names)
            try:
                run.write_real_images(grid)
            except UserError as error:  # Pictures are not worth a run.
                _logger.warning("WARNING %s; the report will not show training images", error)
        run.forget_metrics_after(step)
        collapses = run.read_collapses()
        if collapses and collapses[-1]["action"] == "stop":
            # Continuous evaluation reads this to know that the run has not ended.
            run.write_collapses([*collapses[:-1], {**collapses[-1], "action": "resumed"}])
        _logger.info(
            "%s at step %d of %d on %s",
            "Resuming" if restored else "Starting",
            step,
            config.train.steps,
            describe(strategy),
        )


def restore_on_all_workers(run: RunDirectory, state: TrainState, strategy: tf.distribute.Strategy) -> str | None:
    """Restores, on all workers, the newest checkpoint that the chief can read. Returns its path, or None."""
    path = restore_newest(run.checkpoints, state.variables()) if is_chief(strategy) else None
    step = agreed(strategy, -1 if path is None else int(state.step.numpy()))
    if step >= 0 and not is_chief(strategy):
        path = checkpoint_path(run.checkpoints, step)
        restore(path, state.variables())
    return path


def check_classes(config: ExperimentConfig, dataset: ClassificationDataset) -> None:
    """Raises UserError if the data set and the model differ in the number of classes."""
    if dataset.num_classes != config.model.num_classes:
        raise UserError(
            f"data set '{config.data.dataset}' has {dataset.num_classes} classes, model.num_classes is "
            f"{config.model.num_classes}; pass --override model.num_classes={dataset.num_classes}"
        )


def class_counts_of(config: ExperimentConfig, dataset: ClassificationDataset) -> list[int] | None:
    """Returns the class counts of the training split if the labels of fakes are drawn by them, otherwise None.

    Raises:
        UserError: the training split cannot be read.
    """
    is_uniform = config.train.label_distribution == "uniform"
    return None if is_uniform else dataset.class_counts(dataset.config.train_split)


def _check_same_experiment(config: ExperimentConfig, run: RunDirectory) -> None:
    changed = {
        path: values
        for path, values in differences(run.read_config(), config).items()
        if not path.startswith(MAY_CHANGE)
    }
    if changed:
        listed = "; ".join(f"{path} is {there} there, {here} now" for path, (there, here) in changed.items())
        raise UserError(
            f"{run.path} was started with other settings: {listed}. Choose another --run, or the same settings"
        )


def resolved(config: ExperimentConfig) -> ExperimentConfig:
    """Returns the config with absolute local paths, so that a run works from any directory."""
    return dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, data_dir=_absolute(config.data.data_dir)),
        train=dataclasses.replace(config.train, init_from=_absolute(config.train.init_from)),
    )


def _absolute(path: str | None) -> str | None:
    return path if path is None or "://" in path else os.path.abspath(path)
