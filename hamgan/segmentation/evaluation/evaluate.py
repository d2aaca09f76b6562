"""Scores of a segmentation network on a data set: confusion matrix, IoU and accuracies."""

import dataclasses
import functools
import heapq
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from hamgan.counted import counted
from hamgan.errors import UserError
from hamgan.segmentation.data.masks import MAX_CLASSES
from hamgan.segmentation.evaluation.scores import SegmentationScores, confusion_matrix, segmentation_scores
from hamgan.segmentation.networks.network import SegmentationNetwork
from hamgan.segmentation.prediction.inference import SINGLE_SCALE, InferenceSettings, MaskPredictor
from hamgan.segmentation.prediction.multi_scale import Network
from hamgan.text_table import text_table

__all__ = ["SegmentationEvaluation", "evaluate_iterations", "evaluate_network"]

ITERATIONS = (*range(1, 11), 12, 15, 20, 30)
"""Numbers of iterations K that the published code scores after training."""

Pairs = Iterable[tuple[np.ndarray, np.ndarray]]
"""Images, uint8, shape ``(height, width, 3)``, and masks, uint8, shape ``(height, width)``."""


@dataclasses.dataclass(frozen=True)
class ImageResult:
    """An image and how well it was predicted.

    Args:
        index: position of the image in the data set.
        mean_iou: mean IoU over the classes of this image.
        image: uint8, shape ``(height, width, 3)``.
        mask: true classes, uint8, shape ``(height, width)``.
        prediction: predicted classes, uint8, shape ``(height, width)``.
    """

    index: int
    mean_iou: float
    image: np.ndarray
    mask: np.ndarray
    prediction: np.ndarray


@dataclasses.dataclass(frozen=True)
class SegmentationEvaluation:
    """Result of :func:`evaluate_network`.

    Args:
        confusion: number of pixels, int64, shape ``(num_classes, num_classes)``; rows are true classes.
        class_names: name of each class.
        settings: how the network was applied.
        num_images: number of images.
        worst: images with the lowest mean IoU, the worst first.

    Example:
        >>> import numpy as np
        >>> from hamgan.segmentation.evaluation.evaluate import SegmentationEvaluation
        >>> from hamgan.segmentation.prediction.inference import InferenceSettings
        >>> confusion = np.array([[3, 1], [0, 4]])
        >>> round(SegmentationEvaluation(confusion, ("ground", "sky"), InferenceSettings(), 1).mean_iou, 3)
        0.775
    """

    confusion: np.ndarray
    class_names: tuple[str, ...]
    settings: InferenceSettings
    num_images: int
    worst: tuple[ImageResult, ...] = ()

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> "SegmentationEvaluation":
        """Returns the evaluation of :meth:`values`, without its worst images.

        Args:
            values: result of :meth:`values`.
        """
        settings = InferenceSettings(**values["settings"])
        confusion = np.asarray(values["confusion"], np.int64)
        return cls(confusion, tuple(values["class_names"]), settings, values["num_images"])

    @functools.cached_property
    def scores(self) -> SegmentationScores:
        """All scores of the confusion matrix."""
        return segmentation_scores(self.confusion)

    @property
    def mean_iou(self) -> float:
        """Mean IoU (mIoU) over the classes that occur, in [0, 1]."""
        return self.scores.mean_iou

    def table(self) -> str:
        """Returns a text table with a row for each class, and a line with the scores of the whole data set."""
        pixels = self.confusion.sum(axis=1)
        rows = [("class", "IoU", "accuracy", "pixels")]
        for name, iou, accuracy, count in zip(
            self.class_names, self.scores.iou, self.scores.accuracy, pixels / pixels.sum(), strict=True
        ):
            rows.append((name, percent(iou), percent(accuracy), f"{100 * count:.2f}"))
        return f"{text_table(rows, left=1)}\n{self.summary()}"

    def summary(self) -> str:
        """Returns the scores of the whole data set in one line."""
        scores = self.scores
        return (
            f"mIoU {percent(scores.mean_iou)}, pixel accuracy {percent(scores.pixel_accuracy)}, mean accuracy "
            f"{percent(scores.mean_accuracy)}, frequency-weighted IoU {percent(scores.frequency_weighted_iou)} % "
            f"({counted(self.num_images, 'image')}, {self.settings.describe()})"
        )

    def values(self) -> dict[str, Any]:
        """Returns scores, confusion matrix and settings as JSON values. Scores without a value are None."""
        scores = self.scores
        return {
            "mean_iou": scores.mean_iou,
            "pixel_accuracy": scores.pixel_accuracy,
            "mean_accuracy": scores.mean_accuracy,
            "frequency_weighted_iou": scores.frequency_weighted_iou,
            "iou": _or_none(scores.iou),
            "accuracy": _or_none(scores.accuracy),
            "confusion": self.confusion.tolist(),
            "class_names": list(self.class_names),
            "num_images": self.num_images,
            "settings": self.settings.values(),
        }


def percent(value: float) -> str:
    """Returns a share as a percentage with two decimals, without a sign; "-" for NaN."""
    return "-" if np.isnan(value) else f"{100 * value:.2f}"


def evaluate_network(
    network: keras.Model | Network,
    pairs: Pairs,
    *,
    class_names: Sequence[str],
    settings: InferenceSettings = SINGLE_SCALE,
    batch: int = 1,
    total: int | None = None,
    keep_worst: int = 0,
) -> SegmentationEvaluation:
    """Scores a network on images with masks.

    Args:
        network: :class:`hamgan.segmentation.SegmentationNetwork`, or any function from normalised images to logits of
            the same size.
        pairs: images and masks, read one after the other.
        class_names: name of each class. Values of masks beyond them, such as 255, do not count.
        settings: how to apply the network, see :class:`hamgan.segmentation.prediction.inference.InferenceSettings`.
        batch: largest number of images per batch. Only neighbours of equal size share one: padding would change the
            result.
        total: number of images, for the progress bar.
        keep_worst: number of images with the lowest mean IoU to keep.

    Returns:
        Confusion matrix, scores and the worst images.

    Raises:
        UserError: there are no pixels to score, a mask has another size than its image, or the settings do not suit the
            network.

    Reference: Geng et al., Is Attention Better Than Matrix Decomposition? (ICLR 2021); the evaluation of its code.

    Example:
        >>> import numpy as np
        >>> from hamgan.segmentation import HamNet, ResNet
        >>> from hamgan.segmentation.evaluation.evaluate import evaluate_network
        >>> network = HamNet(ResNet(depths=(1, 1, 1, 1), base_channels=8), num_classes=2, head_channels=16, rank=4)
        >>> pairs = [(np.zeros((33, 41, 3), np.uint8), np.ones((33, 41), np.uint8))]
        >>> evaluate_network(network, pairs, class_names=["ground", "sky"]).num_images
        1
    """
    names = tuple(class_names)
    if not 1 <= len(names) <= MAX_CLASSES:
        raise UserError(f"expected 1 to {MAX_CLASSES} classes, found {len(names)}; check the data set")
    if isinstance(network, SegmentationNetwork) and network.head.num_classes != len(names):
        raise UserError(
            f"expected masks of the {counted(network.head.num_classes, 'class')} of the network, found "
            f"{counted(len(names), 'class')}; choose the data set that it was trained on"
        )
    predictor = MaskPredictor(network, settings)
    confusion = np.zeros((len(names), len(names)), np.int64)
    worst: list[tuple[float, int, ImageResult]] = []
    count = itertools.count()
    with tqdm(total=total, unit="image", leave=False, disable=not sys.stderr.isatty()) as progress:
        for images, masks in _batches(pairs, batch):
            for image, mask, prediction in zip(images, masks, predictor(np.stack(images)), strict=True):
                index = next(count)
                of_image = confusion_matrix(mask, prediction, len(names)).numpy()
                confusion += of_image
                if keep_worst and of_image.any():
                    result = ImageResult(index, segmentation_scores(of_image).mean_iou, image, mask, prediction)
                    keep = heapq.heappush if len(worst) < keep_worst else heapq.heappushpop
                    keep(worst, (-result.mean_iou, -index, result))
            progress.update(len(images))
    if not confusion.any():
        raise UserError("expected images with pixels of some class, found none; check the split")
    ordered = tuple(result for *_, result in sorted(worst, reverse=True))
    return SegmentationEvaluation(confusion, names, settings, next(count), ordered)


def evaluate_iterations(
    network: keras.Model | Network,
    pairs: Callable[[], Pairs],
    *,
    num_steps: Sequence[int] = ITERATIONS,
    settings: InferenceSettings = SINGLE_SCALE,
    **options: Any,
) -> dict[int, SegmentationEvaluation]:
    """Scores a network with several numbers of iterations K.

    Args:
        network: network with a matrix decomposition.
        pairs: function that returns images and masks from the beginning.
        num_steps: numbers of iterations.
        settings: how to apply the network, beside the number of iterations.
        options: ``class_names``, ``batch``, ``total`` and ``keep_worst``, see :func:`evaluate_network`.

    Returns:
        Result of each number of iterations.

    Raises:
        UserError: as :func:`evaluate_network`.

    Example:
        >>> import numpy as np
        >>> from hamgan.segmentation import HamNet, ResNet
        >>> from hamgan.segmentation.evaluation.evaluate import evaluate_iterations
        >>> network = HamNet(ResNet(depths=(1, 1, 1, 1), base_channels=8), num_classes=2, head_channels=16, rank=4)
        >>> pairs = [(np.zeros((33, 41, 3), np.uint8), np.ones((33, 41), np.uint8))]
        >>> sorted(evaluate_iterations(network, lambda: pairs, num_steps=[1, 6], class_names=["ground", "sky"]))
        [1, 6]
    """
    return {
        steps: evaluate_network(network, pairs(), settings=dataclasses.replace(settings, num_steps=steps), **options)
        for steps in num_steps
    }


def iterations_table(results: Iterable[SegmentationEvaluation]) -> str:
    """Returns a text table of results with several numbers of iterations."""
    rows: list[tuple[str, ...]] = [("K", "mIoU", "pixel accuracy", "mean accuracy")]
    for result in results:
        scores = result.scores
        rows.append(
            (
                str(result.settings.num_steps),
                *map(percent, (scores.mean_iou, scores.pixel_accuracy, scores.mean_accuracy)),
            )
        )
    return text_table(rows)


def _batches(pairs: Pairs, batch: int) -> Iterator[tuple[list[np.ndarray], list[np.ndarray]]]:
    """Yields neighbours of equal size."""
    images: list[np.ndarray] = []
    masks: list[np.ndarray] = []
    for index, (image, mask) in enumerate(pairs):
        image, mask = np.asarray(image), np.asarray(mask)
        if image.shape[:2] != mask.shape:
            raise UserError(
                f"expected a mask of the size of its image, found {mask.shape} beside {image.shape[:2]} (image {index} "
                "of the split); prepare the data set again"
            )
        if images and (len(images) == batch or image.shape != images[0].shape):
            yield images, masks
            images, masks = [], []
        images.append(image)
        masks.append(mask)
    if images:
        yield images, masks


def _or_none(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]
