"""Evaluation of trained networks that are named by their paths: checkpoints of a run, or a Keras file."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hamgan.config import DataConfig
from hamgan.errors import UserError
from hamgan.runs.directory import RunDirectory
from hamgan.sampling.trained_weights import find_checkpoints
from hamgan.segmentation.evaluate import SegmentationEvaluation
from hamgan.segmentation.evaluate_run import ScoredData, data_of, evaluate_checkpoint, evaluate_on_dataset
from hamgan.segmentation.trained import SegmentationRun, find_segmentation_checkpoint, load_trained
from hamgan.segmentation.trained_network import is_network_file


def evaluate_path(
    path: str,
    checkpoint: str = "latest",
    *,
    changes: Sequence[Mapping[str, Any]] = ({},),
    dataset: str | None = None,
    data_dir: str | None = None,
    split: str | None = None,
    num_images: int | None = None,
    batch: int = 1,
) -> Iterator[tuple[str, list[SegmentationEvaluation]]]:
    """Scores checkpoints of a run, or a network in a Keras file, one after the other.

    Results of a run are files in its folder, and existing ones are not computed again. Those of a Keras file are
    returned only.

    Args:
        path: folder of a run, or a ``.keras`` file.
        checkpoint: "latest", "best", "all", a step, or the path of a checkpoint.
        changes: for each way to apply the network, arguments of
            :meth:`hamgan.segmentation.inference.InferenceSettings.changed`.
        dataset: name of a data set with the classes of the network; by default, that of the run.
        data_dir: folder of the TFDS data sets; by default, that of the run, or TFDS's own.
        split: name of the split; by default, the validation split.
        num_images: number of images, from the first on; by default, all.
        batch: largest number of images per batch; only neighbours of equal size share one.

    Yields:
        What was scored, in words, and a result for each element of ``changes``.

    Raises:
        UserError: the network or the data set cannot be used, a setting is out of range, or the folder cannot be
            written.
        FailedError: a result cannot be written.
    """
    if is_network_file(path):
        trained = load_trained(path, checkpoint)
        if dataset is None:
            raise UserError(f"--dataset: expected a data set for the Keras file {path}, which names none; pass one")
        scored = ScoredData(data_of(DataConfig(dataset=dataset), None, data_dir), split, num_images)
        yield (
            f"{path} on {dataset}",
            [
                evaluate_on_dataset(trained, scored, settings=trained.settings.changed(**change), batch=batch)
                for change in changes
            ],
        )
        return
    for run in _runs(path, checkpoint):
        scored = ScoredData(data_of(run.config.data, dataset, data_dir), split, num_images)
        settings = [run.settings.changed(**change) for change in changes]
        yield f"Step {run.step:,}", evaluate_checkpoint(run, scored, settings, batch=batch)


def _runs(path: str, checkpoint: str) -> Iterator[SegmentationRun]:
    directory = RunDirectory(path)
    directory.read_segmentation_config()
    if checkpoint == "best":
        found = [find_segmentation_checkpoint(directory, checkpoint)]
    else:
        found = find_checkpoints(directory, checkpoint)
    for _, each in found:
        yield SegmentationRun(path, checkpoint=each)
