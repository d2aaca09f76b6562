"""Checkpoints written beside the training: it waits only while its variables are copied."""

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
    """Pauses between attempts, longer and longer."""
    seconds = FIRST_RETRY_SECONDS
    while True:
        yield seconds
        seconds = min(2 * seconds, LONGEST_RETRY_SECONDS)


class CheckpointNotWrittenError(FailedError):
    """The last checkpoint of a run could not be written."""


class CheckpointWriter:
    """Keeps a folder of checkpoints.

    A checkpoint that a full disk or a bucket refuses is tried again, more and more seldom, until it is written or there
    is a newer one.

    Args:
        directory: folder of the checkpoints.
        variables: everything to save, by name.
        max_to_keep: number of the newest checkpoints that are kept.
        best_step: function that returns the step of a checkpoint to keep besides, or None.

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
        """Copies the variables, and begins to write them as the checkpoint of ``step``.

        Waits for the one before if it is still being written.
        """
        if self._end_retries() is not None:
            _logger.warning("The checkpoint of step %d was not written; now comes that of step %d", self._step, step)
        for name, variable in self._variables.items():
            self._copies[name].assign(variable)
        self._step = step
        self._writing = self._thread.submit(self._write_with_retries)

    def settle(self) -> None:
        """Waits until nothing is being written; a checkpoint that was refused is given up."""
        self._end_retries()

    def hurry(self) -> None:
        """Makes :meth:`wait` less patient, from any thread."""
        self._hurry.set()

    def wait(self) -> None:
        """Waits for the last checkpoint to be written; one that is refused is tried again for an hour.

        Raises:
            CheckpointNotWrittenError: it cannot be written.
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
                "make room or mend access, and run the same command again"
            ) from error

    def close(self) -> None:
        """Ends the thread; a write in progress is finished, one that was refused is not tried again."""
        self._give_up.set()
        self._thread.shutdown()

    def _end_retries(self) -> Exception | None:
        """Waits until nothing is being written; returns why the last checkpoint was not."""
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
