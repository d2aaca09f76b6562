"""The training loop: build, resume, step, log, save."""

import dataclasses
import logging
import os
import sys
import time
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from hamgan.config import ExperimentConfig, differences
from hamgan.data.dataset import ClassificationDataset
from hamgan.errors import UserError
from hamgan.run_directory import RunDirectory, write_atomically
from hamgan.sampling import Sampler, grid_classes
from hamgan.training.checkpointing import Checkpoints
from hamgan.training.distribution import describe, replica_batch
from hamgan.training.state import TrainState
from hamgan.training.train_step import make_train_function

_logger = logging.getLogger(__name__)

MAY_CHANGE = (
    "data.data_dir",
    "train.steps",
    "train.steps_per_loop",
    "train.checkpoint_every",
    "train.max_to_keep",
    "train.image_every",
    "evaluation.",
)
"""What a resumed run may set anew: nothing that the weights at a given step depend on."""

GRID_COLUMNS = 10
PROGRESS_SECONDS_WITHOUT_TERMINAL = 30.0


class TrainingDivergedError(FloatingPointError):
    """A loss is not finite; nothing of the steps since the last checkpoint was kept."""


def train(config: ExperimentConfig, run: RunDirectory, strategy: tf.distribute.Strategy) -> None:
    """Trains to ``config.train.steps``, from the newest checkpoint of the run if there is one.

    Args:
        config: the experiment. In a run that was begun before, only the fields of ``MAY_CHANGE`` may differ.
        run: where everything goes.
        strategy: see :func:`hamgan.training.distribution.create_strategy`.

    Raises:
        UserError: the data set does not fit the model, the batch not the replicas, or the run has another config.
        TrainingDivergedError: a loss is not finite.
    """
    # This pass fails on the step's graph with a line of log about a missing node, and changes nothing in speed.
    tf.config.optimizer.set_experimental_options({"remapping": False})
    if config.train.deterministic:
        tf.config.experimental.enable_op_determinism()
    replica_batch(config.train.global_batch, strategy)
    if run.exists():
        _check_same_experiment(config, run)
    dataset = ClassificationDataset(config.data)
    _check_classes(config, dataset)
    with strategy.scope():
        state = TrainState(config)
    checkpoints = Checkpoints(run.checkpoints, state.variables(), config.train.max_to_keep)
    if not run.exists():
        run.create(config)
    restored = checkpoints.restore_latest()
    step = int(state.step.numpy())
    if step > config.train.steps:
        raise UserError(f"{run.path} is at step {step}, beyond train.steps {config.train.steps}; override train.steps")
    run.write_config(config)
    run.forget_metrics_after(step)
    _logger.info(
        "%s at step %d of %d on %s",
        "Resuming" if restored else "Starting",
        step,
        config.train.steps,
        describe(strategy),
    )
    _Loop(config, run, strategy, dataset, state, checkpoints).run_to_the_end()


def _check_classes(config: ExperimentConfig, dataset: ClassificationDataset) -> None:
    if dataset.num_classes != config.model.num_classes:
        raise UserError(
            f"data set '{config.data.dataset}' has {dataset.num_classes} classes, model.num_classes is "
            f"{config.model.num_classes}; pass --override model.num_classes={dataset.num_classes}"
        )


def _check_same_experiment(config: ExperimentConfig, run: RunDirectory) -> None:
    changed = {
        path: values
        for path, values in differences(run.read_config(), config).items()
        if not path.startswith(MAY_CHANGE)
    }
    if changed:
        listed = "; ".join(f"{path} is {there} there, {here} now" for path, (there, here) in changed.items())
        raise UserError(
            f"{run.path} was begun with other settings: {listed}. Choose another --run, or the same settings"
        )


class _Loop:
    """One process's run from the restored step to the last."""

    def __init__(
        self,
        config: ExperimentConfig,
        run: RunDirectory,
        strategy: tf.distribute.Strategy,
        dataset: ClassificationDataset,
        state: TrainState,
        checkpoints: Checkpoints,
    ) -> None:
        self.config = config.train
        self.run = run
        self.state = state
        self.checkpoints = checkpoints
        self.step = int(state.step.numpy())
        self.train_function = make_train_function(state, config, strategy)
        batches = dataset.training_batches(
            resolution=config.model.resolution,
            batch=self.config.global_batch,
            seed=self.config.seed,
            skip_examples=self.step * self.config.discriminator_updates * self.config.global_batch,
        )
        self.iterator = iter(strategy.experimental_distribute_dataset(batches))
        self.sampler = Sampler(state.sampling_generator, seed=self.config.seed, batch=config.evaluation.batch)
        self.classes = grid_classes(config.model.num_classes)
        self.writer = tf.summary.create_file_writer(run.tensorboard)
        self.progress = tqdm(
            total=self.config.steps * self.config.global_batch,
            initial=self.step * self.config.global_batch,
            unit="img",
            unit_scale=True,
            mininterval=0.5 if sys.stderr.isatty() else PROGRESS_SECONDS_WITHOUT_TERMINAL,
        )

    def run_to_the_end(self) -> None:
        """Takes all steps left."""
        try:
            if self.step == 0:
                self._after_steps()
            while self.step < self.config.steps:
                self._take_steps(self._steps_to_next_event())
                self._after_steps()
        finally:
            self.progress.close()
            self.writer.close()

    def _steps_to_next_event(self) -> int:
        intervals = (self.config.steps_per_loop, self.config.checkpoint_every, self.config.image_every)
        return min(
            self.config.steps - self.step,
            *(interval - self.step % interval for interval in intervals if interval),
        )

    def _take_steps(self, num_steps: int) -> None:
        begin = time.monotonic()
        metrics = self.train_function(self.iterator, tf.constant(num_steps, tf.int32))
        values = {name: float(value.numpy()) for name, value in metrics.items()}
        seconds = time.monotonic() - begin
        self.step += num_steps
        for name, value in values.items():
            if not np.isfinite(value):
                raise TrainingDivergedError(
                    f"{name} is {value} between steps {self.step - num_steps} and {self.step}; "
                    f"the last checkpoint in {self.run.checkpoints} is from before"
                )
        for network in (self.state.generator, self.state.discriminator):
            if network.hamburger is not None:
                values[f"{network.name}_sigma"] = float(network.hamburger.sigma.numpy())
        images = num_steps * self.config.global_batch
        self._log({**values, "images_per_second": images / seconds})
        self.progress.set_postfix(
            step=self.step,
            D=f"{values['discriminator_loss']:.3f}",
            G=f"{values['generator_loss']:.3f}",
            refresh=False,
        )
        self.progress.update(images)

    def _log(self, values: dict[str, Any]) -> None:
        self.run.append_metrics({"step": self.step, **values})
        with self.writer.as_default(step=self.step):
            for name, value in values.items():
                tf.summary.scalar(name, value)

    def _after_steps(self) -> None:
        """Draws and saves what is due. The checkpoint comes last: what it covers has been written by then."""
        last = self.step == self.config.steps
        if self.config.image_every and (last or self.step % self.config.image_every == 0):
            grid = self.sampler.grid(self.classes, GRID_COLUMNS)
            write_atomically(self.run.samples_path(self.step), tf.io.encode_png(grid).numpy())
            with self.writer.as_default(step=self.step):
                tf.summary.image("samples", grid[np.newaxis])
        if last or self.step % self.config.checkpoint_every == 0:
            self.writer.flush()
            self.checkpoints.save(self.step)


def resolved(config: ExperimentConfig) -> ExperimentConfig:
    """Returns the config with a local data folder made absolute, so that a run can be used from anywhere."""
    data_dir = config.data.data_dir
    if data_dir is None or "://" in data_dir:
        return config
    data = dataclasses.replace(config.data, data_dir=os.path.abspath(data_dir))
    return dataclasses.replace(config, data=data)
