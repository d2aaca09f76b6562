"""What a run's folder holds, and reading and writing it so that a kill at any moment loses nothing."""

import json
import os
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import tensorflow as tf

from hamgan.config import ExperimentConfig, experiment_from_json, to_json
from hamgan.errors import UserError, reason_of

gfile = tf.io.gfile


class RunDirectory:
    """A run's folder, local or in a bucket (``gs://``).

    It holds ``config.json``, ``metrics.jsonl``, ``checkpoints/``, ``samples/``, ``evaluations/``, ``tensorboard/`` and
    ``report.html``.
    """

    def __init__(self, path: str) -> None:
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
        return dict(sorted(_by_step(self.samples, ".png").items()))

    def evaluation_path(self, step: int, weights: str) -> str:
        """Where the evaluation of a step is; ``weights`` is "ema" or "raw"."""
        return os.path.join(self.evaluations, f"{weights}_step_{step:08d}.json")

    def read_evaluations(self) -> list[dict[str, Any]]:
        """Returns all evaluations, by step."""
        results = []
        for path in _by_step(self.evaluations, ".json", all_paths=True):
            with gfile.GFile(path) as file:
                results.append(json.loads(file.read()))
        return sorted(results, key=lambda result: (result["step"], result["weights"]))

    def best_step(self, among: Collection[int] | None = None) -> int | None:
        """Returns the step with the lowest FID of those that were evaluated (and are ``among``), or None."""
        scores = [
            (result["fid"], result["step"])
            for result in self.read_evaluations()
            if among is None or result["step"] in among
        ]
        return min(scores)[1] if scores else None

    def read_collapses(self) -> list[dict[str, Any]]:
        """Returns what went wrong in training so far, in order; see :mod:`hamgan.training.collapse`."""
        if not gfile.exists(self.collapses_path):
            return []
        with gfile.GFile(self.collapses_path) as file:
            return json.loads(file.read())

    def write_collapses(self, collapses: list[dict[str, Any]]) -> None:
        """Writes what :meth:`read_collapses` returns."""
        write_atomically(self.collapses_path, (json.dumps(collapses, indent=1) + "\n").encode())


def _by_step(folder: str, suffix: str, *, all_paths: bool = False) -> Any:
    names = [name for name in gfile.listdir(folder) if name.endswith(suffix)] if gfile.exists(folder) else []
    paths = [os.path.join(folder, name) for name in sorted(names)]
    if all_paths:
        return paths
    return {int(os.path.basename(path).removesuffix(suffix).rsplit("_", 1)[1]): path for path in paths}


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
