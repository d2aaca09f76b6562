"""Runs of segmentation networks, and the function that opens any trained network."""

import functools
import os
from typing import TYPE_CHECKING, Any

from hamgan.config import SegmentationConfig
from hamgan.errors import UserError
from hamgan.runs.directory import RunDirectory
from hamgan.runs.pretrained import find_run
from hamgan.sampling.trained_weights import find_checkpoint
from hamgan.segmentation.evaluation.mask_scores_files import best_step
from hamgan.segmentation.trained_network import TrainedNetwork, is_network_file, load_network_file

__all__ = ["SegmentationRun"]

if TYPE_CHECKING:
    from hamgan.segmentation.evaluation.evaluate import SegmentationEvaluation
    from hamgan.segmentation.networks.network import SegmentationNetwork
    from hamgan.segmentation.prediction.inference import InferenceSettings


class SegmentationRun(TrainedNetwork):
    """A run with a trained segmentation network, from :func:`hamgan.load`.

    Args:
        path: folder of the run, local or ``gs://``.
        checkpoint: "latest", "best" (the highest mIoU among those evaluated), a step, or the path of a checkpoint.

    Attributes:
        path: path of the run's folder.
        config: config of the run, a :class:`hamgan.config.SegmentationConfig`.
        step: training step of the checkpoint.
        checkpoint: path of the checkpoint, without suffix.
        class_names: name of each class.

    Raises:
        UserError: if the run or the checkpoint does not exist.

    Example:
        >>> import hamgan
        >>> import numpy as np
        >>> run = hamgan.load("runs/scenes")
        >>> run.predict(np.zeros((96, 128, 3), np.uint8)).shape
        (96, 128)
    """

    def __init__(self, path: str, *, checkpoint: str = "latest") -> None:
        directory = RunDirectory(path)
        self.path = path
        self.config: SegmentationConfig = directory.read_segmentation_config()
        self.step, self.checkpoint = find_segmentation_checkpoint(directory, checkpoint)
        # The numbers of the classes are settled in the config of any run that has a checkpoint.
        super().__init__(directory.read_class_names(self.config.model.num_classes))

    def __repr__(self) -> str:
        return f"SegmentationRun({self.path!r}, step={self.step})"

    @functools.cached_property
    def network(self) -> "SegmentationNetwork":  # type: ignore[override]
        """The network, a Keras model that maps normalised images to logits."""
        from hamgan.segmentation.networks.saved_network import load_network

        return load_network(self.config, self.checkpoint)

    @property
    def settings(self) -> "InferenceSettings":
        """How the config of the run says to segment whole images."""
        from hamgan.segmentation.evaluation.evaluate_run import configured_settings

        return configured_settings(self.config)

    def evaluate(self, **options: Any) -> "SegmentationEvaluation":
        """Scores the network on a split of a data set, by default the run's validation split.

        Args:
            options: ``settings``, ``split``, ``dataset``, ``data_dir``, ``batch``, ``num_images`` and ``keep_worst``,
                see :func:`hamgan.segmentation.evaluation.evaluate_run.evaluate_on_dataset`.

        Returns:
            Confusion matrix, scores (``mean_iou``, ``scores``) and a table.

        Raises:
            UserError: the data set or a setting cannot be used.
        """
        from hamgan.segmentation.evaluation.evaluate_run import evaluate_run

        return evaluate_run(self, **options)


def load(path: str, *, checkpoint: str = "latest", weights: str | None = None) -> Any:
    """Loads the trained networks of a run.

    Args:
        path: folder of a run of a GAN or of a segmentation network, local or ``gs://``; "digits", a generator that
            comes with the package; or a ``.keras`` file of a segmentation network.
        checkpoint: "latest", "best" (the lowest FID, or the highest mIoU, among those evaluated), a step, or the path
            of a checkpoint.
        weights: weights of a generator, "ema" (the moving average) or "raw"; by default, "ema" if the run has it.

    Returns:
        :class:`hamgan.Run`, :class:`SegmentationRun`, or for a file,
        :class:`hamgan.segmentation.trained_network.TrainedNetwork`.

    Raises:
        UserError: if the run, the checkpoint or the moving average does not exist.

    Example:
        >>> import hamgan
        >>> run = hamgan.load("digits")
        >>> run.sample(classes=["3", 7], per_class=8, seed=1, truncation=0.7).shape
        (16, 32, 32, 3)
    """
    from hamgan.sampling.trained import Run

    if is_network_file(path):
        return load_trained(path, checkpoint)
    if isinstance(RunDirectory(find_run(path)).read_any_config(), SegmentationConfig):
        if weights is not None:
            raise UserError(
                f"weights={weights}: expected none for a segmentation network, which has only one set; remove it"
            )
        return SegmentationRun(path, checkpoint=checkpoint)
    return Run(path, checkpoint=checkpoint, weights=weights)


def load_trained(path: str, checkpoint: str = "latest") -> TrainedNetwork:
    """Loads a trained segmentation network.

    Args:
        path: folder of a run, or a Keras file.
        checkpoint: checkpoint of a run.

    Raises:
        UserError: there is no such network.
    """
    if not is_network_file(path) or os.path.isdir(path):
        return SegmentationRun(path, checkpoint=checkpoint)
    if checkpoint != "latest":
        raise UserError(f"--checkpoint expects a run, found the Keras file {path}; remove it")
    return load_network_file(path)


def find_segmentation_checkpoint(directory: RunDirectory, which: str) -> tuple[int, str]:
    """Returns (step, path) of a checkpoint: "latest", "best" (the highest mIoU), a step or a path.

    Raises:
        UserError: if it does not exist.
    """
    if which == "best":
        best = best_step(directory)
        if best is None:
            raise UserError(
                "--checkpoint best: no existing checkpoint has been evaluated; "
                f"'hamnet evaluate --run {directory.path} --checkpoint all' evaluates them"
            )
        which = str(best)
    return find_checkpoint(directory, which)
