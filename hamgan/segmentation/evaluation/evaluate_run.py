"""Scores of a trained segmentation network on a data set, and their files in the folder of a run."""

import dataclasses
import logging
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hamgan.config import DataConfig, SegmentationConfig
from hamgan.counted import counted
from hamgan.errors import UserError
from hamgan.runs.checkpoints import checkpoint_sha256
from hamgan.runs.directory import RunDirectory
from hamgan.runs.report import write_report
from hamgan.segmentation.data.dataset import SegmentationDataset
from hamgan.segmentation.evaluation.evaluate import SegmentationEvaluation
from hamgan.segmentation.evaluation.evaluation_page import write_evaluation_page
from hamgan.segmentation.evaluation.mask_scores_files import read_result, read_results, write_result
from hamgan.segmentation.evaluation.mask_scores_section import mask_scores_section
from hamgan.segmentation.prediction.inference import InferenceSettings
from hamgan.segmentation.trained_network import TrainedNetwork

if TYPE_CHECKING:
    from hamgan.segmentation.trained import SegmentationRun

_logger = logging.getLogger(__name__)

WORST_IMAGES = 8
"""Number of images with the lowest mean IoU on the page of a run."""


@dataclasses.dataclass(frozen=True)
class ScoredData:
    """Images to score.

    Args:
        data: name and folder of the data set.
        split: name of the split; None means the validation split.
        num_images: number of images, from the first on; None means all.
    """

    data: DataConfig
    split: str | None = None
    num_images: int | None = None

    def open(self) -> tuple[SegmentationDataset, str, int]:
        """Returns the data set, the name of the split and the number of images.

        Raises:
            UserError: they do not exist.
        """
        dataset = SegmentationDataset(self.data)
        split = dataset.config.validation_split if self.split is None else self.split
        count = dataset.num_examples(split)
        if self.num_images is not None and self.num_images < 1:
            raise UserError(f"num_images: expected a positive number, found {self.num_images}")
        return dataset, split, count if self.num_images is None else min(count, self.num_images)


def configured_settings(config: SegmentationConfig) -> InferenceSettings:
    """Returns how a config says to segment whole images."""
    evaluation = config.evaluation
    return InferenceSettings(
        ratios=evaluation.ratios,
        flip=evaluation.flip,
        combination=evaluation.combination,
        short_side=evaluation.short_side,
        window=evaluation.window,
        window_step=evaluation.window_step,
    )


def evaluate_on_dataset(
    trained: TrainedNetwork,
    scored: ScoredData,
    *,
    settings: InferenceSettings | None = None,
    batch: int = 1,
    keep_worst: int = 0,
) -> SegmentationEvaluation:
    """Scores a network on a split of a prepared data set.

    Args:
        trained: trained network.
        scored: images to score.
        settings: how to apply the network; by default, those of ``trained``.
        batch: largest number of images per batch; only neighbours of equal size share one.
        keep_worst: number of images with the lowest mean IoU to keep.

    Raises:
        UserError: the data set cannot be used, or has other classes.
    """
    dataset, split, count = scored.open()
    if dataset.num_classes != len(trained.class_names):
        raise UserError(
            f"expected a data set with the {counted(len(trained.class_names), 'class')} of the network, found "
            f"{counted(dataset.num_classes, 'class')} in '{dataset.config.dataset}'; choose another"
        )
    with dataset.reading(split):
        evaluation = trained.evaluate_pairs(
            _pairs(dataset, split, count), settings=settings, batch=batch, total=count, keep_worst=keep_worst
        )
    # Those of the data set are names where the network has numbers.
    return dataclasses.replace(evaluation, class_names=tuple(dataset.class_names))


def evaluate_run(
    run: "SegmentationRun",
    *,
    settings: InferenceSettings | None = None,
    split: str | None = None,
    dataset: str | None = None,
    data_dir: str | None = None,
    batch: int = 1,
    num_images: int | None = None,
    keep_worst: int = 0,
) -> SegmentationEvaluation:
    """Scores a run on a split, by default its validation split; see :func:`evaluate_on_dataset`.

    Args:
        run: loaded run.
        settings, batch, keep_worst: see :func:`evaluate_on_dataset`.
        split: name of the split.
        dataset: name of a data set with the same classes; by default, that of the run.
        data_dir: folder of the TFDS data sets; by default, that of the run.
        num_images: number of images, from the first on; by default, all.
    """
    scored = ScoredData(data_of(run.config.data, dataset, data_dir), split, num_images)
    return evaluate_on_dataset(run, scored, settings=settings, batch=batch, keep_worst=keep_worst)


def data_of(config: DataConfig, dataset: str | None, data_dir: str | None) -> DataConfig:
    """Returns a config of data with another data set, another folder, or both."""
    return dataclasses.replace(
        config,
        dataset=config.dataset if dataset is None else dataset,
        data_dir=config.data_dir if data_dir is None else data_dir,
    )


def evaluate_checkpoint(
    run: "SegmentationRun",
    scored: ScoredData,
    settings: Sequence[InferenceSettings],
    *,
    batch: int = 1,
) -> list[SegmentationEvaluation]:
    """Scores a checkpoint with several settings, and writes the results and ``evaluation.html`` into the run's folder.

    Results that exist already are returned as they are.

    Args:
        run: loaded run.
        scored: images to score.
        settings: each way to apply the network.
        batch: largest number of images per batch.

    Raises:
        UserError: the folder cannot be written, or as :func:`evaluate_on_dataset`.
        FailedError: a result cannot be written.
    """
    directory = RunDirectory(run.path)
    directory.check_takes_results()
    _, split, count = scored.open()
    results = []
    for each in settings:
        identity = {
            "step": run.step,
            "checkpoint": checkpoint_sha256(run.checkpoint),
            "data": {"dataset": scored.data.dataset, "split": split, "num_images": count},
            "settings": each.values(),
        }
        known = read_result(directory, identity)
        if known is not None:
            _logger.info("Step %d, %s: scored before", run.step, each.describe())
            results.append(SegmentationEvaluation.from_values(known))
            continue
        _logger.info("Step %d, %s: %s", run.step, each.describe(), counted(count, "image"))
        evaluation = evaluate_on_dataset(run, scored, settings=each, batch=batch, keep_worst=WORST_IMAGES)
        write_result(directory, {**identity, "time": time.time(), **evaluation.values()})
        title = f"Evaluation of {run.config.name}, step {run.step:,}, on {scored.data.dataset}, {split}"
        write_evaluation_page(
            directory.evaluation_page_path, evaluation, title, {"All results": mask_scores_section(directory)}
        )
        results.append(evaluation)
    write_report(directory)
    return results


def mean_iou_of(run: RunDirectory) -> float:
    """Returns the mIoU of the newest checkpoint that was scored as the config of the run says.

    Raises:
        UserError: if there is none, or a file is damaged or cannot be read.
    """
    config = run.read_segmentation_config()
    settings, dataset = configured_settings(config).values(), config.data.dataset
    found = [
        result["mean_iou"]
        for result in read_results(run)
        if result["settings"] == settings and result["data"]["dataset"] == dataset
    ]
    if not found:
        raise UserError(f"{run.path} was not scored; run hamnet evaluate --run {run.path}")
    return found[-1]


def _pairs(dataset: SegmentationDataset, split: str, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for images, masks in dataset.evaluation_batches(split, last=count).as_numpy_iterator():
        yield images[0], masks[0]
