"""What to score of trained networks that are named by their paths: checkpoints of a run, or a Keras file."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from hamgan.config import DataConfig
from hamgan.counted import counted
from hamgan.errors import UserError
from hamgan.runs.directory import RunDirectory
from hamgan.sampling.trained_weights import find_checkpoints
from hamgan.segmentation.evaluation.evaluate import SegmentationEvaluation
from hamgan.segmentation.evaluation.evaluate_run import ScoredData, data_of, evaluate_checkpoint, evaluate_on_dataset
from hamgan.segmentation.prediction.inference import InferenceSettings
from hamgan.segmentation.trained import SegmentationRun, find_segmentation_checkpoint, load_trained
from hamgan.segmentation.trained_network import TrainedNetwork, is_network_file


class ScoringJob(NamedTuple):
    """A network to score.

    Args:
        title: the network, in words.
        trained: the network.
        scored: images.
        settings: each way to apply the network.
    """

    title: str
    trained: TrainedNetwork
    scored: ScoredData
    settings: list[InferenceSettings]

    def describe(self) -> Iterator[str]:
        """Yields network, images and settings of each result, in words.

        Raises:
            UserError: the data set cannot be used.
        """
        data, name, count = self.scored.open()
        for settings in self.settings:
            yield f"{self.title}: {counted(count, 'image')} of {data.config.dataset}, {name}; {settings.describe()}"

    def evaluate(self, *, batch: int = 1) -> list[SegmentationEvaluation]:
        """Scores the network.

        Results of a run are files in its folder, and existing ones are not computed again. Those of a Keras file are
        returned only.

        Args:
            batch: largest number of images per batch; only neighbours of equal size share one.

        Returns:
            A result for each of the settings.

        Raises:
            UserError: the data set cannot be used, or the folder cannot be written.
            FailedError: a result cannot be written.
        """
        if isinstance(self.trained, SegmentationRun):
            return evaluate_checkpoint(self.trained, self.scored, self.settings, batch=batch)
        return [
            evaluate_on_dataset(self.trained, self.scored, settings=settings, batch=batch) for settings in self.settings
        ]


def scoring_jobs(
    path: str,
    checkpoint: str = "latest",
    *,
    changes: Sequence[Mapping[str, Any]] = ({},),
    dataset: str | None = None,
    data_dir: str | None = None,
    split: str | None = None,
    num_images: int | None = None,
) -> Iterator[ScoringJob]:
    """Finds checkpoints of a run, or a network in a Keras file, to score one after the other.

    Args:
        path: folder of a run, or a ``.keras`` file.
        checkpoint: "latest", "best", "all", a step, or the path of a checkpoint.
        changes: for each way to apply the network, arguments of
            :meth:`hamgan.segmentation.prediction.inference.InferenceSettings.changed`.
        dataset: name of a data set with the classes of the network; by default, that of the run.
        data_dir: folder of the TFDS data sets; by default, that of the run, or TFDS's own.
        split: name of the split; by default, the validation split.
        num_images: number of images, from the first on; by default, all.

    Raises:
        UserError: the network cannot be used, no data set is named for a Keras file, or a setting is out of range.
    """

    def job(title: str, trained: TrainedNetwork, data: DataConfig) -> ScoringJob:
        scored = ScoredData(data_of(data, dataset, data_dir), split, num_images)
        return ScoringJob(title, trained, scored, [trained.settings.changed(**change) for change in changes])

    if is_network_file(path):
        trained = load_trained(path, checkpoint)
        if dataset is None:
            raise UserError(f"--dataset: expected a data set for the Keras file {path}, which names none; pass one")
        yield job(f"{path} on {dataset}", trained, DataConfig(dataset=dataset))
        return
    for run in _runs(path, checkpoint):
        yield job(f"Step {run.step:,}", run, run.config.data)


def _runs(path: str, checkpoint: str) -> Iterator[SegmentationRun]:
    directory = RunDirectory(path)
    directory.read_segmentation_config()
    if checkpoint == "best":
        found = [find_segmentation_checkpoint(directory, checkpoint)]
    else:
        found = find_checkpoints(directory, checkpoint)
    for _, each in found:
        yield SegmentationRun(path, checkpoint=each)
