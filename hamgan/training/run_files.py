"""Files that the chief of a training run writes: checkpoints, log, pictures."""

import tensorflow as tf

from hamgan.config import ExperimentConfig
from hamgan.distribution.strategies import is_multi_worker
from hamgan.runs.directory import RunDirectory
from hamgan.sampling.grids import grid_classes
from hamgan.sampling.imagenet_names import readable_names
from hamgan.sampling.sampler import Sampler
from hamgan.training.checkpoint_writer import CheckpointWriter
from hamgan.training.journal import Journal
from hamgan.training.state import TrainState

GRID_COLUMNS = 10


class RunFiles:
    """Writes the files of a run, in one process.

    Args:
        config: config of the experiment.
        run: folder of the run.
        state: training state to save.
        strategy: strategy whose replicas generate the pictures.
    """

    def __init__(
        self, config: ExperimentConfig, run: RunDirectory, state: TrainState, strategy: tf.distribute.Strategy
    ) -> None:
        self.config = config.train
        self.journal = Journal(run)
        self.checkpoints = CheckpointWriter(
            run.checkpoints, state.variables(), max_to_keep=config.train.max_to_keep, best_step=run.best_step
        )
        self.sampler = Sampler(
            state.sampling_generator,
            seed=config.train.seed,
            batch=config.evaluation.batch,
            # The other workers do not draw.
            strategy=None if is_multi_worker(strategy) else strategy,
        )
        self.classes = grid_classes(config.model.num_classes)
        self.class_names = readable_names(run.read_class_names(config.model.num_classes))

    def write_what_is_due(self, step: int) -> None:
        """Writes pictures and checkpoints that are due. The checkpoint comes last, after everything that it covers."""
        is_last = step == self.config.steps
        if self.config.image_every and (is_last or step % self.config.image_every == 0):
            self.journal.draw(step, self.sampler.grid(self.classes, GRID_COLUMNS, class_names=self.class_names))
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
