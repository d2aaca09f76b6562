"""HTML page of the training images that are nearest to samples."""

import base64
import html
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from hamgan.errors import UserError, reason_of
from hamgan.evaluation.memorization import QUANTILE, NearestTrainingImages
from hamgan.files import write_atomically
from hamgan.html_page import html_page
from hamgan.runs.figure_svg import figure_svg

_BINS = 40
_FIGURE_INCHES = (7.0, 3.2)
_STYLE = """<style>
.neighbors { border-spacing: 0; }
.neighbors td { padding: .3rem; text-align: center; font-size: .85rem; color: #555; vertical-align: top; }
.neighbors th { font-size: .85rem; text-align: left; padding: .3rem; }
.neighbors td:first-child { padding-right: 1.5rem; }
.neighbors img { width: 6rem; height: 6rem; image-rendering: pixelated; display: block; margin: auto; }
.histogram svg { width: 100%; max-width: 44rem; height: auto; }
</style>"""


def write_memorization_page(found: NearestTrainingImages, path: str) -> None:
    """Writes a self-contained page: what the distances say, their distribution, and samples beside training images.

    Args:
        found: result of :func:`hamgan.evaluation.memorization.nearest_training_images`.
        path: path of the page, local or ``gs://``.

    Raises:
        UserError: if the page cannot be written.
    """
    summary = f"<p>{html.escape(found.summary())}</p>"
    sections = {
        "Distances": f'{_STYLE}{summary}<figure class="histogram">{_histogram(found)}</figure>',
        "Samples closest to a training image": _rows(found, found.nearest_rows),
        "Random samples": _rows(found, found.first_rows),
    }
    page = html_page(
        f"Nearest training images: {found.title}",
        f"{len(found.distances):,} samples, {found.num_training:,} of {found.training_split_size:,} training images, "
        "Euclidean distance of the classifier's features",
        sections,
    )
    try:
        write_atomically(path, page.encode())
    except (OSError, tf.errors.OpError) as error:
        raise UserError(f"cannot write {path}: {reason_of(error)}") from error


def _histogram(found: NearestTrainingImages) -> str:
    figure = Figure(figsize=_FIGURE_INCHES, layout="constrained")
    axes = figure.subplots()
    sets = {"samples": found.distances[:, 0], "validation images": found.validation_distances}
    bins = np.histogram_bin_edges(np.concatenate(list(sets.values())), _BINS).tolist()
    for name, distances in sets.items():
        axes.hist(
            distances,
            bins,
            weights=np.full(len(distances), 100 / len(distances)),
            histtype="stepfilled",
            alpha=0.5,
            label=name,
        )
    axes.axvline(
        found.threshold, linestyle="--", color="gray", linewidth=1, label=f"closest {QUANTILE:.0%} of validation images"
    )
    axes.set_xlabel("distance to the nearest training image")
    axes.set_ylabel("share (%)")
    axes.legend(fontsize="small")
    return figure_svg(figure, "distances")


def _rows(found: NearestTrainingImages, samples: Sequence[int]) -> str:
    """One row per sample: the sample, and its nearest training images with their distances."""
    rows = []
    for sample in samples:
        cells = [_cell(found.images[sample], f"sample {sample}", found.class_names[found.labels[sample]])]
        for index, distance in zip(found.indices[sample].tolist(), found.distances[sample], strict=True):
            name = found.class_names[found.training_labels[index]]
            cells.append(_cell(found.training_images[index], f"training image {index}", f"{name} · {distance:#.3g}"))
        rows.append(f"<tr>{''.join(cells)}</tr>")
    columns = found.indices.shape[1]
    header = f'<tr><th>sample</th><th colspan="{columns}">nearest training images: class and distance</th></tr>'
    return f'<table class="neighbors">{header}{"".join(rows)}</table>'


def _cell(image: np.ndarray, alt: str, caption: str) -> str:
    data = base64.b64encode(tf.io.encode_png(image).numpy()).decode()
    alt, caption = html.escape(alt), html.escape(caption)
    return f'<td><img src="data:image/png;base64,{data}" alt="{alt}" title="{alt}">{caption}</td>'
