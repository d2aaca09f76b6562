"""The training loop: takes steps, logs, saves, and handles interruptions and collapses."""

import contextlib
import gc
import logging
import sys
import time
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from hamgan import random_streams
from hamgan.data.record_dataset import RecordDataset
from hamgan.distribution.strategies import (
    UNAVAILABLE,
    distribute,
    is_chief,
    is_multi_worker,
    worker_failures_as_preemption,
)
from hamgan.errors import FailedError, PreemptedError, UserError, reason_of
from hamgan.runs.directory import RunDirectory
from hamgan.runs.lock import RunLock
from hamgan.training.collapse import TrainingDivergedError, describe_collapse
from hamgan.training.preemption import PreemptionWatch
from hamgan.training.run_files import RunFiles
from hamgan.training.start import begin, restore_on_all_workers, resume
from hamgan.training.task import Task, TrainingState
from hamgan.training.train_function import StepsTaken, make_train_function

_logger = logging.getLogger(__name__)

PROGRESS_SECONDS_WITHOUT_TERMINAL = 30.0


def run_loop(task: Task, run: RunDirectory, strategy: tf.distribute.Strategy, watch: PreemptionWatch) -> None:
    """Trains to ``train.steps``, and resumes from the newest checkpoint of the run if there is one.

    Args:
        task: what to train. When a run is resumed, only the fields in ``MAY_CHANGE`` of its config may differ.
        run: folder of the run.
        strategy: strategy from :func:`hamgan.distribution.strategies.create_strategy`.
        watch: active watch for SIGTERM.

    Raises:
        UserError: the data set does not fit the model, or the batch the replicas; the run has another config; the data
            is damaged; the run folder cannot be written, or another process trains the run.
        PreemptedError: SIGTERM stopped training after a checkpoint, or another worker failed.
        TrainingDivergedError: a loss or a weight is not finite.
        CheckpointNotWrittenError: the last checkpoint cannot be written.
    """
    # Operations on a TPU are deterministic anyway.
    if task.config.train.deterministic and not isinstance(strategy, tf.distribute.TPUStrategy):
        tf.config.experimental.enable_op_determinism()
    task.check_batch(strategy)
    with worker_failures_as_preemption(strategy), RunLock(run) as lock:
        dataset, state = begin(task, run, strategy, lock)
        resume(task, run, strategy, dataset, state)
        _Loop(task, run, strategy, dataset, state, watch).run_to_the_end()


class _Loop:
    """Training in one process, from the restored step to the last."""

    def __init__(
        self,
        task: Task,
        run: RunDirectory,
        strategy: tf.distribute.Strategy,
        dataset: RecordDataset,
        state: TrainingState,
        watch: PreemptionWatch,
    ) -> None:
        self.task = task
        self.config = task.config.train
        self.run = run
        self.strategy = strategy
        self.dataset = dataset
        self.state = state
        self.step = int(state.step.numpy())
        train_step = task.create_step(state, dataset, strategy)
        self.examples_per_step = train_step.batches_per_step * self.config.global_batch
        self.layers = train_step.layers_with_singular_values
        self.singular_values: dict[str, float] = {}
        self.watch = watch
        with tf.device("CPU:0"):
            stop_requested = tf.Variable(False, trainable=False, name="stop_requested")
        watch.call(lambda: stop_requested.assign(True))
        self.train_function = make_train_function(train_step, strategy, stop_requested)
        self.extra_values = task.create_extra_values(train_step, dataset, strategy)
        self.collapses = run.read_collapses()
        self._start_streams()
        # Only the chief writes files.
        self.files: RunFiles | None = None
        if is_chief(strategy):
            pictures = task.create_pictures(run, state, dataset, strategy)
            self.files = RunFiles(self.config, run, state.variables(), pictures, lambda: task.best_step(run))
            watch.call(self.files.checkpoints.hurry)
        self.progress = tqdm(
            total=self.config.steps * self.config.global_batch,
            initial=self.step * self.config.global_batch,
            unit="img",
            unit_scale=True,
            mininterval=0.5 if sys.stderr.isatty() else PROGRESS_SECONDS_WITHOUT_TERMINAL,
            disable=self.files is None,
        )

    @property
    def rollbacks(self) -> int:
        """Number of rollbacks so far."""
        return sum(collapse["action"] == "rollback" for collapse in self.collapses)

    def _start_streams(self) -> None:
        """Opens the streams of noise and data at the current step. Each rollback selects new streams."""
        self.stream = random_streams.run_stream(self.config.seed, self.rollbacks)

        def dataset_of_host(host: int, num_hosts: int) -> tf.data.Dataset:
            return self.task.training_batches(
                self.dataset,
                seed=int(self.stream[0].numpy()),
                skip_examples=self.step * self.examples_per_step,
                host=host,
                num_hosts=num_hosts,
                batches_per_host=self.strategy.num_replicas_in_sync // num_hosts,
            )

        self.iterator = iter(distribute(self.strategy, dataset_of_host))

    def run_to_the_end(self) -> None:
        """Takes all remaining steps; raises as :func:`run_loop` does."""
        try:
            # Messages must not break the progress bar.
            with logging_redirect_tqdm():
                if self.files is not None and self.step == 0:
                    self.files.write_what_is_due(0)
                if self.step < self.config.steps:
                    self._compile()
                self.watch.defer()
                while self.step < self.config.steps:
                    self._take_steps(self._steps_to_next_event())
                if self.files is not None:
                    self.files.checkpoints.wait()
        finally:
            self.progress.close()
            if self.files is not None:
                self.files.close()

    def _compile(self) -> None:
        """Compiles the train function by a call with zero steps, which also returns the singular values."""
        with _garbage_is_kept():
            self.singular_values = self._singular_values(self._call(0))

    def _call(self, num_steps: int) -> StepsTaken:
        """Takes steps on the device."""
        try:
            taken = self.train_function(self.iterator, tf.constant(num_steps, tf.int32), self.stream)
            taken.count.numpy()  # Some devices raise errors only here.
        except tf.errors.OpError as error:
            if is_multi_worker(self.strategy) and isinstance(error, UNAVAILABLE):
                raise
            bad_data = self.dataset.explained(error, self.dataset.config.train_split)
            kind = FailedError if bad_data is None else UserError
            raise kind(
                f"training stopped after step {self.step}: {bad_data or reason_of(error)}; what was saved is kept"
            ) from error
        return taken

    def _singular_values(self, taken: StepsTaken) -> dict[str, float]:
        return dict(zip(self.layers, taken.singular_values.numpy().tolist(), strict=True))

    def _steps_to_next_event(self) -> int:
        intervals = (self.config.steps_per_loop, self.config.checkpoint_every, self.config.image_every)
        return min(
            self.config.steps - self.step,
            *(interval - self.step % interval for interval in intervals if interval),
        )

    def _take_steps(self, num_steps: int) -> None:
        begin = time.monotonic()
        taken = self._call(num_steps)
        count = int(taken.count.numpy())
        seconds = time.monotonic() - begin
        collapse = describe_collapse(taken, self.step + count, self.singular_values)
        if collapse is not None:
            self._stop_or_roll_back(collapse)
            return
        self.step += count
        self.singular_values = self._singular_values(taken)
        if count:
            self._report(taken, count, seconds)
        if bool(taken.was_stopped.numpy()) and self.step < self.config.steps:
            if self.files is not None:
                self.files.save(self.step)
                self.files.checkpoints.wait()
            raise PreemptedError(f"stopped by SIGTERM after step {self.step}, which is saved")
        if self.files is not None:
            self.files.write_what_is_due(self.step)

    def _report(self, taken: StepsTaken, count: int, seconds: float) -> None:
        values = {name: float(value.numpy()) for name, value in taken.metrics.items()}
        values.update(self.extra_values(self.singular_values))
        images = count * self.config.global_batch
        if self.files is not None:
            self.files.journal.log(self.step, {**values, "images_per_second": images / seconds})
        self.progress.set_postfix({"step": self.step, **self.task.progress(values)}, refresh=False)
        self.progress.update(images)

    def _stop_or_roll_back(self, collapse: dict[str, Any]) -> None:
        may_roll_back = self.config.on_collapse == "rollback" and self.rollbacks < self.config.max_rollbacks
        collapse["action"] = "rollback" if may_roll_back else "stop"
        if self.files is not None:
            self.files.checkpoints.settle()
        path = restore_on_all_workers(self.run, self.state, self.strategy)
        if path is None:
            raise TrainingDivergedError(f"{collapse['what']}; there is no checkpoint to resume from")
        self.step = int(self.state.step.numpy())
        collapse["resumed_from"] = self.step
        self.collapses.append(collapse)
        if self.files is not None:
            try:
                self.run.write_collapses(self.collapses)
            except (OSError, tf.errors.OpError) as error:
                # The number of rollbacks selects the noise: without it, the run cannot be resumed.
                raise TrainingDivergedError(
                    f"{collapse['what']}; that cannot be recorded in {self.run.path} ({reason_of(error)})"
                ) from error
            self.run.forget_metrics_after(self.step)
        if not may_roll_back:
            advice = (
                f"it was rolled back {self.rollbacks} times before (train.max_rollbacks)"
                if self.config.on_collapse == "rollback"
                else "--on_collapse rollback resumes from it with new noise and data order"
            )
            raise TrainingDivergedError(f"{collapse['what']}. The last checkpoint is {path}; {advice}")
        _logger.warning(
            "WARNING %s. Going back to step %d, with new noise and data order (rollback %d of at most %d)",
            collapse["what"],
            self.step,
            self.rollbacks,
            self.config.max_rollbacks,
        )
        self.progress.n = self.step * self.config.global_batch
        self._start_streams()


@contextlib.contextmanager
def _garbage_is_kept() -> Iterator[None]:
    """Stops Python's search for garbage, which takes an eighth of the time of tracing: nearly all objects stay."""
    is_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_enabled:
            gc.enable()
