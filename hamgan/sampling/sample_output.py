"""Samples of a run as a picture, a folder or arrays."""

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from tqdm import tqdm

from hamgan.errors import UserError
from hamgan.files import check_writable
from hamgan.runs.checkpoints import checkpoint_sha256
from hamgan.sampling.grids import grid_classes, image_grid
from hamgan.sampling.image_arrays import write_image_arrays
from hamgan.sampling.imagenet_names import readable_names
from hamgan.sampling.latents import Latents
from hamgan.sampling.output_kind import output_kind
from hamgan.sampling.picture_file import write_picture
from hamgan.sampling.sample_folder import SampleFolder
from hamgan.sampling.sample_settings import SampleSettings
from hamgan.sampling.sample_stream import SampleStream, latents_for

if TYPE_CHECKING:
    from hamgan.sampling.trained import Run

DEFAULT_COUNT = 1000
"""Number of samples of a folder or an array file."""
DEFAULT_COLUMNS = 10
"""Number of samples in each row of a picture."""


class SavedSamples(NamedTuple):
    """Result of :func:`save_samples`.

    Args:
        path: path of the picture, the folder or the array file.
        total: number of samples there.
        drawn: number of samples that were missing, and drawn.
    """

    path: str
    total: int
    drawn: int


def save_samples(
    run: "Run",
    out: str,
    labels: Sequence[int] | None,
    settings: SampleSettings,
    *,
    num: int | None = None,
    per_class: int | None = None,
    latents: Latents | str | None = None,
) -> SavedSamples:
    """Draws samples and writes them to a picture, a folder or an array file; see :meth:`hamgan.Run.save_samples`.

    Args:
        run: run whose generator draws the samples.
        out: path whose ending says what is written, see :func:`hamgan.sampling.output_kind.output_kind`.
        labels: labels of the classes. A picture has a row for each; in folders and array files, sample i has the label
            ``labels[i % len(labels)]``. By default, ten classes in a picture, and random labels otherwise.
        settings: settings of the samples.
        num: number of samples in a folder or an array file.
        per_class: number of samples in each row of a picture.
        latents: latent vectors to use, or the path of their file.

    Raises:
        UserError: if arguments contradict each other, or the output cannot be written.
    """
    kind = output_kind(out)
    if num is not None and kind == "picture":
        raise UserError(f"expected num for a folder or an .npz file, found the picture {out}; use per_class")
    if per_class is not None and kind != "picture":
        raise UserError(f"expected per_class for a picture, found {out}; use num")
    for name, value in (("num", num), ("per_class", per_class)):
        if value is not None and value < 1:
            raise UserError(f"{name} must be positive, found {value}")
    given = checked_latents(run, latents, labels, settings)
    if kind == "picture":
        return _save_picture(run, out, labels, settings, per_class or DEFAULT_COLUMNS, given)
    if given is not None:
        if num is not None and num > len(given.z):
            raise UserError(f"num must be at most {len(given.z)}, the number of latent vectors, found {num}")
        given = Latents(*(rows[:num] for rows in given))
        stream = SampleStream(run, settings, latents=given)
    elif labels is None:
        stream = SampleStream(run, settings, count=num or DEFAULT_COUNT)
    else:
        count = num or DEFAULT_COUNT if len(labels) else 0
        stream = SampleStream(run, settings, labels=np.resize(np.asarray(labels, np.int32), count))
    save = _save_folder if kind == "folder" else _save_arrays
    return save(run, out, stream, settings, given)


def checked_latents(
    run: "Run", latents: Latents | str | None, labels: Sequence[int] | None, settings: SampleSettings
) -> Latents | None:
    """Returns latent vectors for a run's generator; see :func:`hamgan.sampling.sample_stream.latents_for`.

    Raises:
        UserError: if they do not fit the generator, or something else would determine the same.
    """
    if latents is not None:
        for name, value in (("classes", labels), ("truncation", settings.truncation)):
            if value is not None:
                raise UserError(f"expected either latents or {name}, found both; leave one out")
    return latents_for(run, latents)


def _save_picture(
    run: "Run",
    out: str,
    labels: Sequence[int] | None,
    settings: SampleSettings,
    columns: int,
    latents: Latents | None,
) -> SavedSamples:
    check_writable(os.path.dirname(out) or os.curdir)
    names = None
    if latents is None:
        rows = grid_classes(run.config.model.num_classes) if labels is None else labels
        names = [readable_names(run.class_names)[label] for label in rows]
        stream = SampleStream(run, settings, labels=np.repeat(rows, columns))
    else:
        stream = SampleStream(run, settings, latents=latents)
        columns = min(columns, len(stream.labels))
    with _progress(len(stream.labels)) as progress:
        batches = []
        for _, images in stream.batches():
            batches.append(images)
            progress.update(len(images))
    images = np.concatenate(batches)
    count = len(images)
    blank = np.full((-count % columns, *images.shape[1:]), 255, np.uint8)
    write_picture(out, image_grid(np.concatenate([images, blank]), columns=columns, row_names=names))
    return SavedSamples(out, count, count)


def _save_folder(
    run: "Run", out: str, stream: SampleStream, settings: SampleSettings, latents: Latents | None
) -> SavedSamples:
    record = {
        "run": run.path,
        "step": run.step,
        "checkpoint": checkpoint_sha256(run.checkpoint),
        "weights": run.weights,
        "num": len(stream.labels),
        "seed": settings.seed,
        "truncation": settings.truncation,
        "batch_norm": settings.batch_norm,
        "batch": stream.batch,
        "labels": _sha256(stream.labels),
        "latents": None if latents is None else _sha256(*latents),
    }
    with SampleFolder(out, labels=stream.labels, class_names=run.class_names, record=record) as folder:
        before = int(folder.is_written.sum())
        with _progress(len(stream.labels), before) as progress:
            for first, images in stream.batches(lambda first, last: not folder.is_written[first:last].all()):
                missing = len(images) - int(folder.is_written[first : first + len(images)].sum())
                folder.write(first, images)
                progress.update(missing)
    return SavedSamples(out, len(stream.labels), len(stream.labels) - before)


def _save_arrays(
    run: "Run", out: str, stream: SampleStream, settings: SampleSettings, latents: Latents | None
) -> SavedSamples:
    model = run.config.model
    check_writable(os.path.dirname(out) or os.curdir)
    count = len(stream.labels)

    def batches() -> Iterator[np.ndarray]:
        with _progress(count) as progress:
            for _, images in stream.batches():
                yield images
                progress.update(len(images))

    write_image_arrays(out, batches(), stream.labels, (model.resolution, model.resolution, model.channels))
    return SavedSamples(out, count, count)


@contextlib.contextmanager
def _progress(total: int, initial: int = 0) -> Iterator[tqdm]:
    with tqdm(
        total=total,
        initial=initial,
        desc="Samples",
        unit="img",
        leave=False,
        mininterval=0.5 if sys.stderr.isatty() else 30.0,
    ) as progress:
        yield progress


def _sha256(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
