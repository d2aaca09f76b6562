"""The two sides of a comparison: images of any source, or statistics, from the names that users give."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from hamgan.errors import UserError, reason_of
from hamgan.evaluation.dataset_images import PREFIX, DatasetImages
from hamgan.evaluation.features import DEFAULT_FOLDER
from hamgan.evaluation.image_folder import ImageFolder
from hamgan.evaluation.image_sources import ImageSource
from hamgan.evaluation.npz_images import IMAGES, NpzImages
from hamgan.evaluation.run_images import RunImages
from hamgan.evaluation.statistics_file import COVARIANCE, Statistics, read_statistics
from hamgan.npz_file import array_names, reading_npz
from hamgan.runs.directory import RunDirectory
from hamgan.runs.pretrained import find_run
from hamgan.sampling.trained import Run


@dataclasses.dataclass(frozen=True, eq=False)
class StatisticsSide:
    """Statistics to score with.

    Args:
        name: path of the file.
        statistics: content of the file.
        stated: the user's statement of the classifier: a SHA-256, a handle or a name; None for the file's own record.
    """

    name: str
    statistics: Statistics
    stated: str | None

    @property
    def recorded(self) -> Mapping[str, Any]:
        """Card of the classifier that the file records; empty for files of other programs."""
        return (self.statistics.card or {}).get("classifier", {})

    @property
    def count(self) -> int | None:
        """Number of images behind the statistics; None if the file does not record it."""
        return None if self.statistics.card is None else self.statistics.card["count"]

    def card(self) -> dict[str, Any]:
        """Returns the entries of a protocol card."""
        made_by = {"stated_classifier": self.stated} if self.stated else {"classifier_sha256": self.recorded["sha256"]}
        return {"kind": "statistics", "images": self.count, "sha256": self.statistics.sha256, **made_by}

    def provenance(self) -> dict[str, Any]:
        """Returns where the statistics come from, which does not affect scores."""
        return {"source": self.name}


Side = ImageSource | StatisticsSide


class RunOptions(NamedTuple):
    """Options of a side that is a run; None for the defaults of :class:`hamgan.evaluation.run_images.RunImages`."""

    checkpoint: str | None = None
    weights: str | None = None
    num_samples: int | None = None
    truncation: float | None = None

    def given(self) -> list[str]:
        """Returns the names of the options that are not None."""
        return [name for name, value in self._asdict().items() if value is not None]


def open_sides(
    named: Mapping[str, str | Run],
    *,
    stated: Mapping[str, str | None],
    run_options: RunOptions,
    resolution: int | None = None,
    batch: int | None = None,
    data_dir: str | None = None,
    cache_dir: str = DEFAULT_FOLDER,
) -> dict[str, Side]:
    """Returns the sides of a comparison, without reading images.

    Args:
        named: path, ``tfds:NAME`` or loaded run by the name of each side, "fakes" or "reference".
        stated: classifier of statistics that do not record it, by the name of the side.
        run_options: options of runs.
        resolution: height and width of the images of data sets; by default, those of the run on the other side.
        batch: number of generated images per batch.
        data_dir: folder of the TFDS data sets.
        cache_dir: local folder for digests of the data.

    Raises:
        UserError: a side is missing or unusable, or an option fits neither side.
    """
    sides: dict[str, Side] = {}
    for side, item in named.items():
        if not _is_dataset(item):
            sides[side] = _open(side, item, stated.get(side), run_options, batch)
    runs = [side for side in sides.values() if isinstance(side, RunImages)]
    if run_options.given() and not runs:
        raise UserError(f"--{run_options.given()[0]} applies to a run, but neither side is one")
    if resolution is not None and not any(map(_is_dataset, named.values())):
        raise UserError("--resolution applies to a data set, but neither side is one")
    for side, item in named.items():
        if isinstance(item, str) and _is_dataset(item):
            wanted = resolution if resolution is not None or not runs else runs[0].resolution
            sides[side] = DatasetImages(item, data_dir, wanted, cache_dir)
    for side, source in sides.items():
        if stated.get(side) is not None and not isinstance(source, StatisticsSide):
            raise UserError(
                f"--{side}_classifier tells which classifier made statistics, but {source.name} holds images; use "
                "--classifier for the one to compute features with"
            )
    return {side: sides[side] for side in named}


def _is_dataset(item: str | Run) -> bool:
    return isinstance(item, str) and item.startswith(PREFIX)


def _open(side: str, item: str | Run, stated: str | None, options: RunOptions, batch: int | None) -> Side:
    if isinstance(item, Run):
        if options.checkpoint is not None or options.weights is not None:
            item = Run(
                item.path, checkpoint=options.checkpoint or item.checkpoint, weights=options.weights or item.weights
            )
        return RunImages(item, options.num_samples, options.truncation, batch)
    item = find_run(item)
    try:
        is_folder, exists = tf.io.gfile.isdir(item), tf.io.gfile.exists(item)
    except (OSError, tf.errors.OpError) as error:
        raise UserError(f"cannot read {item}: {reason_of(error)}") from error
    if is_folder and RunDirectory(item).exists():
        run = Run(item, checkpoint=options.checkpoint or "latest", weights=options.weights)
        return RunImages(run, options.num_samples, options.truncation, batch)
    if is_folder:
        return ImageFolder(item)
    if not exists or not item.endswith(".npz"):
        found = f"the file {os.path.basename(item)}" if exists else "nothing there"
        raise UserError(
            f"--{side} {item}: expected a folder of images, a run, an .npz file or tfds:NAME; found {found}"
        )
    with reading_npz(item) as archive:
        names = array_names(archive)
    # The statistics in reference batches of the guided-diffusion evaluator are of its own Inception.
    if IMAGES in names and not (stated is not None and COVARIANCE in names):
        return NpzImages(item)
    return _checked_statistics(side, item, stated)


def _checked_statistics(side: str, path: str, stated: str | None) -> StatisticsSide:
    found = StatisticsSide(path, read_statistics(path), stated)
    recorded = found.recorded.get("sha256")
    if recorded is None and stated is None:
        raise UserError(
            f"{path} does not record the classifier of its statistics; pass --{side}_classifier with its SHA-256 (see "
            "'hamgan doctor'), its handle or a name: another Inception gives a plausible, wrong FID"
        )
    if recorded is not None and stated is not None:
        raise UserError(f"{path} records its classifier ({recorded[:16]}); remove --{side}_classifier {stated}")
    return found
