"""Files of a run's folder, written so that a kill at any moment loses nothing."""

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from hamgan.config import AnyConfig, ExperimentConfig, SegmentationConfig, experiment_from_json, to_json
from hamgan.errors import UserError, reason_of
from hamgan.files import check_remote, check_writable, read_json, read_text, write_atomically
from hamgan.runs.checkpoints import checkpoint_path, checkpoint_sha256
from hamgan.runs.evaluations import RunEvaluations
from hamgan.runs.initialization import Initialization

gfile = tf.io.gfile

LOCK_NAME = "train.lock"
"""File in the run's folder that its trainer holds; see :mod:`hamgan.runs.lock`."""

_LEFT_BY_CREATE = re.compile(rf"{re.escape(LOCK_NAME)}|(config\.json)?(\.[0-9a-f]+)?\.tmp")
_COLLAPSE = {"step", "what", "action", "resumed_from"}
"""Entries of a collapse that readers need; see :mod:`hamgan.training.collapse`."""
_GRID = re.compile(r"step_(\d+)\.png")


class RunDirectory:
    """A run's folder, local or in a bucket (``gs://``).

    It holds ``config.json``, ``metrics.jsonl``, ``checkpoints/``, ``samples/``, ``evaluations/``, ``tensorboard/`` and
    ``report.html``, and ``initialization.json`` if it started from the weights of another run.

    Args:
        path: path of the folder.

    Raises:
        UserError: if the path is in a bucket and contains pattern characters.

    Example:
        >>> from hamgan.runs.directory import RunDirectory
        >>> run = RunDirectory("runs/digits")
        >>> run.exists()
        True
        >>> run.read_config().model.num_classes
        10
    """

    def __init__(self, path: str) -> None:
        check_remote(path)
        self.path = path
        self.config_path = os.path.join(path, "config.json")
        self.metrics_path = os.path.join(path, "metrics.jsonl")
        self.class_names_path = os.path.join(path, "class_names.json")
        self.class_counts_path = os.path.join(path, "class_counts.json")
        self.initialization_path = os.path.join(path, "initialization.json")
        self.collapses_path = os.path.join(path, "collapses.json")
        self.checkpoints = os.path.join(path, "checkpoints")
        self.samples = os.path.join(path, "samples")
        self.real_images_path = os.path.join(self.samples, "real.png")
        self.evaluations = RunEvaluations(os.path.join(path, "evaluations"), self.checkpoint_sha256)
        self.tensorboard = os.path.join(path, "tensorboard")
        self.report_path = os.path.join(path, "report.html")
        self.explorer_path = os.path.join(path, "explorer.html")
        self.neighbors_path = os.path.join(path, "neighbors.html")
        self.evaluation_page_path = os.path.join(path, "evaluation.html")

    def exists(self) -> bool:
        """Whether the folder contains a run.

        Raises:
            UserError: if the folder cannot be read, such as an unreachable bucket.
        """
        try:
            return gfile.exists(self.config_path)
        except tf.errors.OpError as error:
            raise UserError(f"cannot read the run folder {self.path}: {reason_of(error)}") from error

    def create(self, config: AnyConfig) -> None:
        """Creates the folder and writes the config.

        Raises:
            UserError: if the folder cannot be written or contains other files.
        """
        self.check_unused()
        self.write_config(config)

    def check_unused(self) -> None:
        """Checks that a new run can be created here.

        Raises:
            UserError: if the folder cannot be written or contains other files.
        """
        with self._writing():
            if gfile.exists(self.path) and not (gfile.isdir(self.path) and self._is_unused()):
                raise UserError(f"{self.path} exists and is not a run (no config.json); choose another --run")
            check_writable(self.path)

    def check_takes_results(self) -> None:
        """Checks that results can be written and that the existing evaluations can be read.

        Raises:
            UserError: if the folder cannot be written or an evaluation cannot be read.
        """
        with self._writing():
            check_writable(self.evaluations.path)
            check_writable(self.path)
        self.evaluations.read()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Reports write errors as a ``UserError``."""
        try:
            yield
        except (OSError, tf.errors.OpError) as error:
            raise UserError(f"cannot write the run folder {self.path}: {reason_of(error)}") from error

    def _is_unused(self) -> bool:
        """Whether the folder is empty, apart from files of an interrupted :meth:`create`."""
        return all(_LEFT_BY_CREATE.fullmatch(name.rstrip("/")) for name in gfile.listdir(self.path))

    def read_config(self) -> ExperimentConfig:
        """Returns the config of a run of a GAN.

        Raises:
            UserError: if the folder contains no such run or the config is damaged.
        """
        config = self.read_any_config()
        if not isinstance(config, ExperimentConfig):
            raise UserError(f"{self.path} is a run of a segmentation network, expected one of a GAN; use 'hamnet'")
        return config

    def read_segmentation_config(self) -> SegmentationConfig:
        """Returns the config of a run of a segmentation network.

        Raises:
            UserError: if the folder contains no such run or the config is damaged.
        """
        config = self.read_any_config("hamnet")
        if not isinstance(config, SegmentationConfig):
            raise UserError(f"{self.path} is a run of a GAN, expected one of a segmentation network; use 'hamgan'")
        return config

    def read_any_config(self, program: str = "hamgan") -> AnyConfig:
        """Returns the run's config.

        Args:
            program: console command that creates runs, for the error message.

        Raises:
            UserError: if the folder contains no run or the config is damaged.
        """
        if not self.exists():
            raise UserError(f"no run in {self.path} (no config.json); '{program} train --run {self.path}' creates one")
        return experiment_from_json(read_text(self.config_path), self.config_path)

    def write_config(self, config: AnyConfig) -> None:
        """Writes the run's config.

        Raises:
            UserError: if the folder cannot be written.
        """
        with self._writing():
            write_atomically(self.config_path, to_json(config).encode())

    def write_class_names(self, names: Sequence[str]) -> None:
        """Writes the class names of the data set.

        Raises:
            UserError: if the folder cannot be written.
        """
        with self._writing():
            write_atomically(self.class_names_path, (json.dumps(list(names), indent=1) + "\n").encode())

    def read_class_names(self, num_classes: int) -> list[str]:
        """Returns the class names; the labels as text for a run of an earlier version, which did not record names.

        Raises:
            UserError: if the file is damaged or cannot be read.
        """
        if not self.records_class_names():
            return [str(label) for label in range(num_classes)]
        names = read_json(self.class_names_path)
        if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            raise UserError(f"{self.class_names_path} is damaged (expected a list of names); delete it")
        return names

    def write_class_counts(self, counts: Sequence[int]) -> None:
        """Writes the number of training images of each class.

        Raises:
            UserError: if the folder cannot be written.
        """
        with self._writing():
            write_atomically(self.class_counts_path, (json.dumps(list(counts)) + "\n").encode())

    def read_class_counts(self, config: ExperimentConfig) -> list[int] | None:
        """Returns the number of training images of each class; None if the run draws labels uniformly.

        Args:
            config: config of the run.

        Raises:
            UserError: if the file is missing or damaged, or cannot be read.
        """
        if config.train.label_distribution == "uniform":
            return None
        advice = f"'hamgan train --run {self.path}' writes it"
        if not gfile.exists(self.class_counts_path):
            raise UserError(f"{self.class_counts_path} is missing, but train.label_distribution needs it; {advice}")
        counts = read_json(self.class_counts_path)
        is_list = isinstance(counts, list) and all(type(count) is int and count >= 0 for count in counts)
        if not is_list or len(counts) != config.model.num_classes or not any(counts):
            expected = f"expected {config.model.num_classes} non-negative integers, not all 0"
            raise UserError(f"{self.class_counts_path} is damaged ({expected}); {advice}")
        return counts

    def records_class_names(self) -> bool:
        """Whether the run has the class names of its data set; runs of earlier versions and converted ones do not."""
        return gfile.exists(self.class_names_path)

    def write_initialization(self, initialization: Initialization) -> None:
        """Writes the record of the weights that the run started from.

        Raises:
            UserError: if the folder cannot be written.
        """
        with self._writing():
            content = json.dumps(initialization.to_values(), indent=1) + "\n"
            write_atomically(self.initialization_path, content.encode())

    def read_initialization(self) -> Initialization | None:
        """Returns the record of the weights that the run started from, or None if they were random.

        Raises:
            UserError: if the file is damaged or cannot be read.
        """
        if not gfile.exists(self.initialization_path):
            return None
        return Initialization.from_values(read_json(self.initialization_path), self.initialization_path)

    def append_metrics(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Appends one line per row to the metrics log."""
        with gfile.GFile(self.metrics_path, "a") as file:
            file.write("".join(json.dumps(row) + "\n" for row in rows))

    def end_torn_line(self) -> None:
        """Terminates a row that a full disk truncated, so that the next row starts on a new line."""
        with gfile.GFile(self.metrics_path, "a") as file:
            file.write("\n")

    def read_metrics(self) -> list[dict[str, Any]]:
        """Returns the metrics log without lines truncated by a kill or a full disk.

        Raises:
            UserError: if the log cannot be read.
        """
        return list(_rows(self.metrics_path))

    def forget_metrics_after(self, step: int) -> None:
        """Removes the rows after a step, which a resumed run writes again.

        Raises:
            UserError: if the log cannot be read or written.
        """
        kept = [row for row in self.read_metrics() if row["step"] <= step]
        if gfile.exists(self.metrics_path):
            with self._writing():
                write_atomically(self.metrics_path, "".join(json.dumps(row) + "\n" for row in kept).encode())

    def samples_path(self, step: int) -> str:
        """Returns the path of a step's image grid."""
        return os.path.join(self.samples, f"step_{step:08d}.png")

    def has_real_images(self) -> bool:
        """Whether the folder has a picture of real images; runs of earlier versions do not."""
        return gfile.exists(self.real_images_path)

    def write_real_images(self, grid: np.ndarray) -> None:
        """Writes a picture of real images, uint8, shape ``(height, width, channels)``.

        Raises:
            UserError: if the folder cannot be written.
        """
        with self._writing():
            write_atomically(self.real_images_path, tf.io.encode_png(grid).numpy())

    def sample_grids(self) -> dict[int, str]:
        """Returns the paths of the image grids by step."""
        names = gfile.listdir(self.samples) if gfile.exists(self.samples) else []
        matches = [match for match in map(_GRID.fullmatch, sorted(names)) if match]
        return {int(match[1]): os.path.join(self.samples, match[0]) for match in matches}

    def checkpoint_sha256(self, step: int) -> str | None:
        """Returns the SHA-256 of a step's checkpoint, or None if it does not exist."""
        return checkpoint_sha256(checkpoint_path(self.checkpoints, step))

    def read_collapses(self) -> list[dict[str, Any]]:
        """Returns the collapses of training so far, in order; see :mod:`hamgan.training.collapse`.

        Raises:
            UserError: if the file is damaged or cannot be read.
        """
        if not gfile.exists(self.collapses_path):
            return []
        collapses = read_json(self.collapses_path)
        if not (isinstance(collapses, list) and all(isinstance(c, dict) and c.keys() >= _COLLAPSE for c in collapses)):
            raise UserError(f"{self.collapses_path} is damaged (expected a list of collapses); delete it")
        return collapses

    def write_collapses(self, collapses: list[dict[str, Any]]) -> None:
        """Writes the collapses, in the format of :meth:`read_collapses`."""
        write_atomically(self.collapses_path, (json.dumps(collapses, indent=1) + "\n").encode())


def _rows(path: str) -> Iterator[dict[str, Any]]:
    """Yields the JSON objects with a "step" of a file with one object per line."""
    for line in read_text(path).splitlines() if gfile.exists(path) else []:
        with contextlib.suppress(json.JSONDecodeError):
            row = json.loads(line)
            if isinstance(row, dict) and type(row.get("step")) is int:
                yield row
