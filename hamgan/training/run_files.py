"""Files that the chief of a training run writes: checkpoints, log, pictures."""

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from hamgan.config import LoopConfig
from hamgan.runs.directory import RunDirectory
from hamgan.training.checkpoint_writer import CheckpointWriter
from hamgan.training.journal import Journal


class RunFiles:
    """Writes the files of a run, in one process.

    Args:
        config: config of the loop.
        run: folder of the run.
        variables: variables to save, by name.
        draw: function that draws the picture of the current step, uint8 ``(height, width, channels)``.
        best_step: function that returns the step of the best checkpoint, which is kept, or None.
    """

    def __init__(
        self,
        config: LoopConfig,
        run: RunDirectory,
        variables: Mapping[str, tf.Variable],
        draw: Callable[[], np.ndarray],
        best_step: Callable[[], int | None],
    ) -> None:
        self.config = config
        self.journal = Journal(run)
        self.checkpoints = CheckpointWriter(
            run.checkpoints, variables, max_to_keep=config.max_to_keep, best_step=best_step
        )
        self._draw = draw

    def write_what_is_due(self, step: int) -> None:
        """Writes pictures and checkpoints that are due. The checkpoint comes last, after everything that it covers."""
        is_last = step == self.config.steps
        if self.config.image_every and (is_last or step % self.config.image_every == 0):
            self.journal.draw(step, self._draw())
        if is_last or step % self.config.checkpoint_every == 0:
            self.save(step)

    def save(self, step: int) -> None:
        """Starts to write a checkpoint."""
        self.journal.flush()
        self.checkpoints.save(step)

    def close(self) -> None:
        """Closes everything."""
        self.checkpoints.close()
        self.journal.close()
