"""Writes the explorer: one HTML file with all of its pictures, which needs neither a server nor a network."""

import importlib.resources
import json
import logging
from collections.abc import Sequence
from typing import Any

from hamgan.errors import UserError
from hamgan.explorer.pictures import (
    FRAMES,
    NEIGHBORS,
    SAMPLES,
    TRUNCATIONS,
    Pictures,
    find_nearest,
    make_pictures,
)
from hamgan.explorer.sheets import QUALITIES, sheet
from hamgan.files import write_atomically
from hamgan.sampling.directions import STEPS
from hamgan.sampling.grids import grid_classes
from hamgan.sampling.trained import Run, load

_logger = logging.getLogger(__name__)

CLASSES = 12
"""Default number of classes."""
MAX_MEGABYTES = 20.0
_LOSSLESS_BELOW = 128
"""Resolution from which pictures are always compressed with losses."""


def explore(
    run: str | Run,
    out: str,
    *,
    classes: Sequence[int | str] | None = None,
    seed: int = 0,
    neighbors: bool = True,
    classifier: str | None = None,
    data_dir: str | None = None,
    cache_dir: str | None = None,
    max_megabytes: float = MAX_MEGABYTES,
) -> None:
    """Writes a web page to explore a trained generator: one HTML file that works offline.

    The page has a class picker, samples with a truncation slider, interpolations, directions of the latent space, and
    the training images nearest to samples. All pictures are computed now. If the page would be too large, pictures are
    compressed more.

    Args:
        run: folder of the run, or a loaded run.
        out: path of the HTML file, local or ``gs://``.
        classes: classes to show, by name or label; by default, twelve spread over all.
        seed: seed of the latent vectors, in [0, 2^31).
        neighbors: whether to show nearest training images, which need the data set and a classifier.
        classifier: TF-Hub handle or SavedModel for nearest training images; by default, that of the run.
        data_dir: folder of the TFDS data sets; by default, that of the run.
        cache_dir: local folder of features; by default, ``~/.cache/hamgan/features``.
        max_megabytes: maximum size of the page, in millions of bytes.

    Raises:
        UserError: if the run, a class, the data or the classifier is missing, or the page would be too large.

    Example:
        >>> import hamgan
        >>> hamgan.explore("digits", "threes.html", classes=["3"], neighbors=False)
    """
    if not 0 <= seed < 2**31:
        raise UserError(f"seed must be in [0, 2^31), found {seed}")
    if not max_megabytes > 0:
        raise UserError(f"max_megabytes must be positive, found {max_megabytes}")
    if not isinstance(run, Run):
        run = load(run)
    num_classes = run.config.model.num_classes
    labels = grid_classes(num_classes, CLASSES) if classes is None else list(dict.fromkeys(run.labels(classes)))
    if not labels:
        raise UserError("classes must name at least one class, found none")
    nearest = None
    if neighbors:
        nearest = find_nearest(run, labels, seed=seed, classifier=classifier, data_dir=data_dir, cache_dir=cache_dir)
    pictures = make_pictures(run, labels, seed=seed, nearest=nearest)
    write_atomically(out, _smallest_page(run, labels, pictures, max_megabytes).encode())


def _smallest_page(run: Run, labels: Sequence[int], pictures: Pictures, max_megabytes: float) -> str:
    """Returns the page of the highest quality that is small enough."""
    template = importlib.resources.files("hamgan.explorer").joinpath("page.html").read_text(encoding="utf-8")
    is_lossy = run.config.model.resolution >= _LOSSLESS_BELOW
    size = 0.0
    for quality in QUALITIES[is_lossy:]:
        # "<" would end the script element that holds the content.
        content = json.dumps(_content(run, labels, pictures, quality), separators=(",", ":")).replace("<", "\\u003c")
        page = template.replace("%CONTENT%", content)
        size = len(page.encode()) / 1e6
        if size <= max_megabytes:
            return page
        _logger.info("%.1f MB at WebP quality %d: compressing more", size, quality)
    raise UserError(
        f"expected a page of at most {max_megabytes:g} MB, found {size:.1f} MB with {len(labels)} classes; show fewer "
        "classes or allow a larger page"
    )


def _content(run: Run, labels: Sequence[int], pictures: Pictures, quality: int) -> dict[str, Any]:
    """Returns the content of the page as JSON values."""

    def sheets(images: Sequence[Any], columns: int) -> list[dict[str, Any]]:
        return [sheet(each, columns=columns, quality=quality) for each in images]

    return {
        "title": f"{run.config.name}, step {run.step:,}",
        "summary": f"{run.weights} weights, {run.config.model.resolution}x{run.config.model.resolution} pixels, "
        f"{len(labels)} of {run.config.model.num_classes} classes",
        "resolution": run.config.model.resolution,
        "classes": [run.class_names[label] for label in labels],
        "truncations": TRUNCATIONS,
        "samples": [sheets(each, SAMPLES // 4) for each in pictures.samples],
        "latent_frames": sheets(pictures.latent_frames, FRAMES),
        "class_frames": sheets(pictures.class_frames, FRAMES),
        "distances": STEPS,
        "directions": [sheets(each, len(STEPS)) for each in pictures.directions],
        "neighbors": [
            {
                "samples": sheet(each.samples, columns=1, quality=quality),
                "nearest": sheet(each.nearest, columns=NEIGHBORS, quality=quality),
                "distances": [[f"{distance:.1f}" for distance in row] for row in each.distances],
            }
            for each in pictures.neighbors
        ],
    }
