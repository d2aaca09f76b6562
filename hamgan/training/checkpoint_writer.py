"""Checkpoints written in the background: training waits only while its variables are copied."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import tensorflow as tf

from hamgan.errors import FailedError, UserError, reason_of
from hamgan.runs.checkpoints import (
    checkpoint_path,
    checkpoint_steps,
    delete_checkpoint,
    delete_unfinished,
    write_checkpoint,
)

_logger = logging.getLogger(__name__)

FIRST_RETRY_SECONDS = 10.0
LONGEST_RETRY_SECONDS = 300.0
PATIENCE = 3600.0
"""Seconds in which somebody may make room for the last checkpoint, if it is refused."""
HURRIED_PATIENCE = 15.0
"""If the machine is about to be taken away."""
WRITE_ERRORS = (OSError, tf.errors.OpError)


def _retry_seconds() -> Iterator[float]:
    """Yields growing pauses between attempts, in seconds."""
    seconds = FIRST_RETRY_SECONDS
    while True:
        yield seconds
        seconds = min(2 * seconds, LONGEST_RETRY_SECONDS)


class CheckpointNotWrittenError(FailedError):
    """The last checkpoint of a run could not be written."""


class CheckpointWriter:
    """Writes and manages a folder of checkpoints.

    If the disk is full or a bucket not available, the writer retries with growing pauses until the checkpoint is
    written or a newer one replaces it.

    Args:
        directory: folder of the checkpoints.
        variables: variables to save, by name.
        max_to_keep: number of recent checkpoints to keep.
        best_step: function that returns the step of one more checkpoint to keep, or None.

    Raises:
        UserError: the folder cannot be written.
    """

    def __init__(
        self,
        directory: str,
        variables: Mapping[str, tf.Variable],
        *,
        max_to_keep: int,
        best_step: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._directory = directory
        self._variables = variables
        self._max_to_keep = max_to_keep
        self._best_step = best_step
        with tf.device("CPU:0"):
            self._copies = {
                name: tf.Variable(tf.zeros(variable.shape, variable.dtype), trainable=False)
                for name, variable in variables.items()
            }
        self._writing: Future[Exception | None] | None = None
        self._step = 0
        self._give_up = threading.Event()
        self._hurry = threading.Event()
        try:
            delete_unfinished(directory)
        except WRITE_ERRORS as error:
            raise UserError(f"cannot write checkpoints into {directory}: {reason_of(error)}") from error
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoints")

    def save(self, step: int) -> None:
        """Copies the variables and starts to write them as the checkpoint of ``step``.

        Waits first if the previous checkpoint is still being written.
        """
        if self._end_retries() is not None:
            _logger.warning("The checkpoint of step %d was not written; the one of step %d follows", self._step, step)
        for name, variable in self._variables.items():
            self._copies[name].assign(variable)
        self._step = step
        self._writing = self._thread.submit(self._write_with_retries)

    def settle(self) -> None:
        """Waits until no write is in progress, and gives up a checkpoint that could not be written."""
        self._end_retries()

    def hurry(self) -> None:
        """Makes :meth:`wait` less patient, from any thread."""
        self._hurry.set()

    def wait(self) -> None:
        """Waits until the last checkpoint is written, with retries for up to an hour.

        Raises:
            CheckpointNotWrittenError: the checkpoint cannot be written.
        """
        error = self._end_retries()
        retries = _retry_seconds()
        patience = PATIENCE
        while error is not None and patience > 0:
            hurried = self._hurry.is_set()
            if hurried:
                patience = min(patience, HURRIED_PATIENCE)
            seconds = min(next(retries), patience)
            patience -= seconds
            self._warn(error, f"waiting for room or access, next attempt in {seconds:.0f} s")
            if hurried:
                time.sleep(seconds)
            else:
                self._hurry.wait(seconds)
            error = self._write()
        if error is not None:
            raise CheckpointNotWrittenError(
                f"the checkpoint of step {self._step} cannot be written in {self._directory} ({reason_of(error)}); "
                "free space or fix permissions, then run the same command again"
            ) from error

    def close(self) -> None:
        """Ends the thread after the write in progress, without retries."""
        self._give_up.set()
        self._thread.shutdown()

    def _end_retries(self) -> Exception | None:
        """Waits until no write is in progress; returns the error of the last checkpoint, if any."""
        if self._writing is None:
            return None
        self._give_up.set()
        error = self._writing.result()
        self._give_up.clear()
        return error

    def _write_with_retries(self) -> Exception | None:
        for seconds in _retry_seconds():
            error = self._write()
            if error is None:
                break
            self._warn(error, f"training continues, next attempt in {seconds:.0f} s")
            if self._give_up.wait(seconds):
                break
        return error

    def _warn(self, error: Exception, what_follows: str) -> None:
        _logger.warning(
            "WARNING cannot write the checkpoint of step %d in %s (%s); %s",
            self._step,
            self._directory,
            reason_of(error),
            what_follows,
        )

    def _write(self) -> Exception | None:
        try:
            write_checkpoint(checkpoint_path(self._directory, self._step), self._copies)
        except WRITE_ERRORS as error:
            return error
        try:
            self._delete_old()
        except Exception as error:  # Such as an evaluation that is damaged: no reason to stop training.
            _logger.warning("Cannot delete old checkpoints in %s (%s)", self._directory, reason_of(error))
        return None

    def _delete_old(self) -> None:
        steps = checkpoint_steps(self._directory)
        kept = {*steps[-self._max_to_keep :], self._step, self._best_step()}
        for step in steps:
            if step not in kept:
                delete_checkpoint(checkpoint_path(self._directory, step))
