"""Report of an evaluation: scores of each class, confusion matrix and the worst images."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from hamgan.errors import FailedError, reason_of
from hamgan.files import write_atomically
from hamgan.html_page import html_page, html_table
from hamgan.runs.figure_svg import figure_svg
from hamgan.segmentation.evaluation.evaluate import SegmentationEvaluation, percent
from hamgan.segmentation.prediction.overlay_figure import overlay_figure

_INCHES_PER_CLASS = 0.34
_SMALLEST_INCHES, _LARGEST_INCHES = 3.6, 16.0
_MOST_NUMBERED = 30
"""Largest number of classes for which the confusion matrix shows numbers."""
_DARK = 0.5
"""Share from which on a cell is so dark that its number is white."""


def write_evaluation_page(
    path: str, evaluation: SegmentationEvaluation, title: str, more: Mapping[str, str] | None = None
) -> None:
    """Writes an HTML page about an evaluation.

    Args:
        path: path of the page, local or ``gs://``.
        evaluation: result of :func:`hamgan.segmentation.evaluation.evaluate.evaluate_network`.
        title: title, plain text.
        more: further sections, HTML by heading.

    Raises:
        FailedError: it cannot be written.
    """
    page = html_page(title, evaluation.summary(), {**_sections(evaluation), **(more or {})})
    try:
        write_atomically(path, page.encode())
    except (OSError, tf.errors.OpError) as error:
        raise FailedError(f"cannot write {path}: {reason_of(error)}; free space or fix permissions") from error


def _sections(evaluation: SegmentationEvaluation) -> dict[str, str]:
    caption = "Share of the pixels of each true class (row) that are predicted as each class (column), in percent"
    return {
        "Classes": _class_table(evaluation),
        "Confusion matrix": f"<figure>{_confusion_svg(evaluation)}<figcaption>{caption}</figcaption></figure>",
        "Worst images": _worst_images(evaluation),
    }


def _class_table(evaluation: SegmentationEvaluation) -> str:
    pixels = evaluation.confusion.sum(axis=1)
    columns = (evaluation.class_names, evaluation.scores.iou, evaluation.scores.accuracy, pixels / pixels.sum())
    rows = [
        (name, percent(iou), percent(accuracy), percent(share))
        for name, iou, accuracy, share in zip(*columns, strict=True)
    ]
    return html_table(("class", "IoU, %", "accuracy, %", "pixels, %"), rows)


def _confusion_svg(evaluation: SegmentationEvaluation) -> str:
    counts = evaluation.confusion.astype(np.float64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = float(np.clip(_INCHES_PER_CLASS * len(shares) + 1.5, _SMALLEST_INCHES, _LARGEST_INCHES))
    figure = Figure(figsize=(size, size), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    places = range(len(shares))
    axes.set_xticks(places, evaluation.class_names, rotation=90, fontsize="small")
    axes.set_yticks(places, evaluation.class_names, fontsize="small")
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if len(shares) <= _MOST_NUMBERED:
        for row, column in np.argwhere(shares >= 0.005):
            share = shares[row, column]
            color = "white" if share > _DARK else "black"
            axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize="x-small", color=color)
    return figure_svg(figure, "confusion matrix")


def _worst_images(evaluation: SegmentationEvaluation) -> str:
    figures = (
        overlay_figure(
            result.image,
            [result.mask, result.prediction],
            evaluation.class_names,
            f"image {result.index}, mIoU {percent(result.mean_iou)} % (image, truth, prediction)",
        )
        for result in evaluation.worst
    )
    content = "".join(figures)
    return f'<div class="grids">{content}</div>' if content else ""
