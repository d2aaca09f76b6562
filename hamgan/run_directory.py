"""What a run's folder holds, and reading and writing it so that a kill at any moment loses nothing."""

import json
import os
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import tensorflow as tf

from hamgan.config import ExperimentConfig, experiment_from_json, to_json
from hamgan.errors import UserError, reason_of
from hamgan.literal_paths import check_remote
from hamgan.protocols import most_comparable

gfile = tf.io.gfile

_GRID = re.compile(r"step_(\d+)\.png")
_EVALUATION = re.compile(r"step_(\d+)_([0-9a-f]+)\.json")


class RunDirectory:
    """A run's folder, local or in a bucket (``gs://``).

    It holds ``config.json``, ``metrics.jsonl``, ``checkpoints/``, ``samples/``, ``evaluations/``, ``tensorboard/`` and
    ``report.html``.

    Args:
        path: path of the folder.

    Raises:
        UserError: it is in a bucket and TensorFlow would take it for a pattern.
    """

    def __init__(self, path: str) -> None:
        check_remote(path)
        self.path = path
        self.config_path = os.path.join(path, "config.json")
        self.metrics_path = os.path.join(path, "metrics.jsonl")
        self.collapses_path = os.path.join(path, "collapses.json")
        self.checkpoints = os.path.join(path, "checkpoints")
        self.samples = os.path.join(path, "samples")
        self.evaluations = os.path.join(path, "evaluations")
        self.tensorboard = os.path.join(path, "tensorboard")
        self.report_path = os.path.join(path, "report.html")

    def exists(self) -> bool:
        """Whether a run was begun here.

        Raises:
            UserError: that cannot be told: a bucket that cannot be reached or read.
        """
        try:
            return gfile.exists(self.config_path)
        except tf.errors.OpError as error:
            raise UserError(f"cannot read the run folder {self.path}: {reason_of(error)}") from error

    def create(self, config: ExperimentConfig) -> None:
        """Makes the folder and writes the config.

        Raises:
            UserError: the folder cannot be written, or holds something else.
        """
        try:
            if gfile.exists(self.path) and not (gfile.isdir(self.path) and self._is_unused()):
                raise UserError(f"{self.path} is there and is not a run (no config.json); choose another --run")
            self.write_config(config)
        except (OSError, tf.errors.OpError) as error:
            raise UserError(f"cannot write the run folder {self.path}: {reason_of(error)}") from error

    def _is_unused(self) -> bool:
        """Whether the folder is empty, or holds only what a kill within :meth:`create` left."""
        left = os.path.basename(_temporary(self.config_path))
        return not [name for name in gfile.listdir(self.path) if name.rstrip("/") != left]

    def read_config(self) -> ExperimentConfig:
        """Returns the run's config.

        Raises:
            UserError: there is no run here, or its config is damaged.
        """
        if not self.exists():
            raise UserError(f"no run in {self.path} (no config.json); 'hamgan train --run {self.path}' makes one")
        with gfile.GFile(self.config_path) as file:
            return experiment_from_json(file.read(), self.config_path)

    def write_config(self, config: ExperimentConfig) -> None:
        """Writes the run's config."""
        write_atomically(self.config_path, to_json(config).encode())

    def append_metrics(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Adds a line per row to the metrics log."""
        with gfile.GFile(self.metrics_path, "a") as file:
            file.write("".join(json.dumps(row) + "\n" for row in rows))

    def end_torn_line(self) -> None:
        """Ends what a full disk left of a row in the metrics log, so that the next has a line of its own."""
        with gfile.GFile(self.metrics_path, "a") as file:
            file.write("\n")

    def read_metrics(self) -> list[dict[str, Any]]:
        """Returns the metrics log; lines torn by a kill or a full disk are left out."""
        return list(_json_lines(self.metrics_path))

    def forget_metrics_after(self, step: int) -> None:
        """Drops the log's rows that a resumed run is going to write again."""
        rows = self.read_metrics()
        kept = [row for row in rows if row["step"] <= step]
        if gfile.exists(self.metrics_path):
            write_atomically(self.metrics_path, "".join(json.dumps(row) + "\n" for row in kept).encode())

    def samples_path(self, step: int) -> str:
        """Where the image grid of a step is."""
        return os.path.join(self.samples, f"step_{step:08d}.png")

    def sample_grids(self) -> dict[int, str]:
        """Returns the image grids' paths by step."""
        names = gfile.listdir(self.samples) if gfile.exists(self.samples) else []
        matches = [match for match in map(_GRID.fullmatch, sorted(names)) if match]
        return {int(match[1]): os.path.join(self.samples, match[0]) for match in matches}

    def evaluation_path(self, step: int, card_id: str) -> str:
        """Where the evaluation of a step is that was made as a protocol card says."""
        return os.path.join(self.evaluations, f"step_{step:08d}_{card_id}.json")

    def write_evaluation(self, result: Mapping[str, Any]) -> None:
        """Writes an evaluation, with its "step" and "card_id", in the place of an earlier one of both."""
        content = json.dumps(result, indent=1) + "\n"
        write_atomically(self.evaluation_path(result["step"], result["card_id"]), content.encode())

    def read_evaluation(self, step: int, card_id: str) -> dict[str, Any] | None:
        """Returns the evaluation of a step that was made as a protocol card says, or None.

        Raises:
            UserError: its file is damaged.
        """
        path = self.evaluation_path(step, card_id)
        return _read_json(path) if gfile.exists(path) else None

    def read_evaluations(self) -> list[dict[str, Any]]:
        """Returns all evaluations, by step.

        Raises:
            UserError: a file is damaged.
        """
        names = gfile.listdir(self.evaluations) if gfile.exists(self.evaluations) else []
        results = [_read_json(os.path.join(self.evaluations, name)) for name in names if _EVALUATION.fullmatch(name)]
        return sorted(results, key=lambda result: (result["step"], result["card_id"]))

    def best_step(self, among: Collection[int] | None = None) -> int | None:
        """Returns the step with the lowest FID of those that were evaluated (and are ``among``), or None.

        Only results that were made the same way are compared: those of the protocol card that most steps have, of
        several such that with the most images.
        """
        found = [result for result in self.read_evaluations() if among is None or result["step"] in among]
        comparable = most_comparable(found)
        return min(comparable, key=lambda result: (result["scores"]["fid"], result["step"]))["step"] if found else None

    def read_collapses(self) -> list[dict[str, Any]]:
        """Returns what went wrong in training so far, in order; see :mod:`hamgan.training.collapse`."""
        if not gfile.exists(self.collapses_path):
            return []
        with gfile.GFile(self.collapses_path) as file:
            return json.loads(file.read())

    def write_collapses(self, collapses: list[dict[str, Any]]) -> None:
        """Writes what :meth:`read_collapses` returns."""
        write_atomically(self.collapses_path, (json.dumps(collapses, indent=1) + "\n").encode())


def _read_json(path: str) -> dict[str, Any]:
    with gfile.GFile(path) as file:
        try:
            return json.loads(file.read())
        except json.JSONDecodeError as error:
            raise UserError(f"{path} is damaged ({error}); delete it") from error


def _json_lines(path: str) -> Iterable[dict[str, Any]]:
    if not gfile.exists(path):
        return
    with gfile.GFile(path) as file:
        for line in file.read().splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(row, dict):
                yield row


def write_atomically(path: str, content: bytes) -> None:
    """Writes a file, and the folders above it, so that it is there whole or not at all."""
    gfile.makedirs(os.path.dirname(path) or ".")
    temporary = _temporary(path)
    with gfile.GFile(temporary, "wb") as file:
        file.write(content)
    gfile.rename(temporary, path, overwrite=True)


def _temporary(path: str) -> str:
    return f"{path}.tmp"
