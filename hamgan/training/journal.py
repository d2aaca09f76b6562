"""The log, curves and pictures of a run. Errors in writing them never stop training."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from hamgan.errors import reason_of
from hamgan.files import write_atomically
from hamgan.runs.directory import RunDirectory

_logger = logging.getLogger(__name__)


class Journal:
    """Writes rows, curves and pictures. If the disk is full, rows are kept and written later; pictures are skipped.

    Args:
        run: folder of the run.
    """

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._waiting: list[dict[str, Any]] = []
        self._may_be_torn = False
        self._is_refused = False
        self._events: tf.summary.SummaryWriter | None = None
        self._attempt("TensorBoard's file", self._open_events)

    def _open_events(self) -> None:
        self._events = tf.summary.create_file_writer(self._run.tensorboard)

    def log(self, step: int, values: dict[str, float]) -> None:
        """Adds a row to metrics.jsonl and its values to TensorBoard."""
        self._waiting.append({"step": step, **values})
        self._attempt("the log", self._write_rows)

        def write_events() -> None:
            if self._events is not None:
                with self._events.as_default(step=step):
                    for name, value in values.items():
                        tf.summary.scalar(name, value)

        self._attempt("TensorBoard's file", write_events)

    def _write_rows(self) -> None:
        if self._may_be_torn:
            self._run.end_torn_line()
        self._may_be_torn = True
        self._run.append_metrics(self._waiting)
        self._may_be_torn = False
        self._waiting = []

    def draw(self, step: int, picture: np.ndarray) -> None:
        """Writes a picture, uint8 ``(height, width, channels)``, as the samples of a step."""

        def write() -> None:
            write_atomically(self._run.samples_path(step), tf.io.encode_png(picture).numpy())
            if self._events is not None:
                with self._events.as_default(step=step):
                    tf.summary.image("samples", picture[np.newaxis])

        self._attempt("the samples", write)

    def flush(self) -> None:
        """Writes the rows that were kept back."""
        if self._waiting:
            self._attempt("the log", self._write_rows)
        if self._events is not None:
            self._attempt("TensorBoard's file", self._events.flush)

    def close(self) -> None:
        """Writes the rows that were kept back, and closes the files."""
        self.flush()
        if self._events is not None:
            self._attempt("TensorBoard's file", self._events.close)

    def _attempt(self, what: str, write: Callable[[], None]) -> None:
        try:
            write()
        except (OSError, tf.errors.OpError) as error:
            if not self._is_refused:
                _logger.warning(
                    "Cannot write %s in %s (%s); training continues", what, self._run.path, reason_of(error)
                )
            self._is_refused = True
        else:
            self._is_refused = False
