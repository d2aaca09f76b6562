"""The start of training: creates a new run or resumes an existing one."""

import dataclasses
import logging
import os
from typing import Any, TypeVar

import tensorflow as tf

from hamgan.config import ExperimentConfig, SegmentationConfig, differences
from hamgan.data.record_dataset import RecordDataset
from hamgan.distribution.strategies import agreed, describe, is_chief
from hamgan.errors import UserError
from hamgan.runs.checkpoints import checkpoint_path, checkpoint_steps, restore, restore_newest
from hamgan.runs.directory import RunDirectory
from hamgan.runs.lock import RunLock
from hamgan.training.task import Task, TrainingState

_logger = logging.getLogger(__name__)

Config = TypeVar("Config", ExperimentConfig, SegmentationConfig)

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
    task: Task, run: RunDirectory, strategy: tf.distribute.Strategy, lock: RunLock
) -> tuple[RecordDataset, TrainingState]:
    """Opens the data set and builds the networks. Creates the folder of a new run after everything else has succeeded.

    The networks of a run without checkpoints start from the weights that ``train.init_from`` names.

    Raises:
        UserError: the data set does not fit the model, the run has another config, its folder cannot be written,
            another process trains the run, or ``train.init_from`` cannot be read or does not fit.
    """
    config = task.config
    is_new = not run.exists()
    if is_chief(strategy):
        run.check_unused() if is_new else lock.acquire()
    if not is_new:
        _check_same_experiment(task, run)
    source = _source_of_new_run(task, run, strategy)
    dataset = task.open_dataset()
    with strategy.scope():
        state = task.create_state()
        initialization = None if source is None else task.initialize(state, source, dataset)
    if is_new and is_chief(strategy):
        lock.acquire()
        if run.exists():
            _check_same_experiment(task, run)
        else:
            run.create(config)
    if initialization is not None and is_chief(strategy):
        run.write_initialization(initialization)
        for line in initialization.lines():
            _logger.info("%s", line)
    return dataset, state


def _source_of_new_run(task: Task, run: RunDirectory, strategy: tf.distribute.Strategy) -> Any:
    """The weights to start from, unless the run has a checkpoint of its own."""
    path = task.config.train.init_from
    if path is None:
        return None
    has_checkpoint = is_chief(strategy) and bool(checkpoint_steps(run.checkpoints))
    if agreed(strategy, int(has_checkpoint)):
        return None
    if not path:
        raise UserError(
            "the config names no initial weights; pass --init_from PATH, or --override train.init_from=none to start "
            "from random ones"
        )
    return task.find_source(path, strategy)


def resume(
    task: Task,
    run: RunDirectory,
    strategy: tf.distribute.Strategy,
    dataset: RecordDataset,
    state: TrainingState,
) -> None:
    """Restores the newest checkpoint, if there is one, and removes later steps from the log.

    Raises:
        UserError: no checkpoint can be read, or the run is already beyond ``train.steps``.
    """
    config = task.config
    restored = restore_on_all_workers(run, state, strategy)
    step = int(state.step.numpy())
    if step > config.train.steps:
        raise UserError(f"{run.path} is at step {step}, beyond train.steps {config.train.steps}; override train.steps")
    if is_chief(strategy):
        run.write_config(config)
        run.write_class_names(dataset.class_names)
        task.describe_data(run, dataset)
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


def restore_on_all_workers(run: RunDirectory, state: TrainingState, strategy: tf.distribute.Strategy) -> str | None:
    """Restores, on all workers, the newest checkpoint that the chief can read. Returns its path, or None."""
    path = restore_newest(run.checkpoints, state.variables()) if is_chief(strategy) else None
    step = agreed(strategy, -1 if path is None else int(state.step.numpy()))
    if step >= 0 and not is_chief(strategy):
        path = checkpoint_path(run.checkpoints, step)
        restore(path, state.variables())
    return path


def _check_same_experiment(task: Task, run: RunDirectory) -> None:
    begun = run.read_any_config()
    if type(begun) is not type(task.config):
        raise UserError(f"{run.path} is a run of another kind of network; choose another --run")
    changed = {
        path: values
        for path, values in differences(begun, task.config).items()
        if not path.startswith(MAY_CHANGE) or path in task.settled_fields
    }
    if changed:
        listed = "; ".join(f"{path} is {there} there, {here} now" for path, (there, here) in changed.items())
        raise UserError(
            f"{run.path} was started with other settings: {listed}. Choose another --run, or the same settings"
        )


def resolved(config: Config) -> Config:
    """Returns the config with absolute local paths, so that a run works from any directory."""
    return dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, data_dir=_absolute(config.data.data_dir)),
        train=dataclasses.replace(config.train, init_from=_absolute(config.train.init_from)),
    )


def _absolute(path: str | None) -> str | None:
    return path if not path or "://" in path else os.path.abspath(path)
