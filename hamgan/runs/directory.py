"""What a run's folder holds, and reading and writing it so that a kill at any moment loses nothing."""

import contextlib
import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from hamgan.config import ExperimentConfig, experiment_from_json, to_json
from hamgan.config.protocols import most_comparable, with_card_ids
from hamgan.errors import FailedError, UserError, reason_of
from hamgan.files import check_remote, check_writable, read_json, read_text, write_atomically
from hamgan.runs.checkpoints import checkpoint_path, checkpoint_sha256
from hamgan.runs.evaluation_results import checked_result, key_of, merged, step_of_file, with_defaults

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
        self.class_names_path = os.path.join(path, "class_names.json")
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
        self.check_unused()
        self.write_config(config)

    def check_unused(self) -> None:
        """Checks that a new run can be begun here.

        Raises:
            UserError: the folder cannot be written, or holds something else.
        """
        with self._writing():
            if gfile.exists(self.path) and not (gfile.isdir(self.path) and self._is_unused()):
                raise UserError(f"{self.path} is there and is not a run (no config.json); choose another --run")
            check_writable(self.path)

    def check_takes_results(self) -> None:
        """Checks that evaluations and the report can be written, and that the evaluations that are there can be read.

        Raises:
            UserError: they cannot.
        """
        with self._writing():
            check_writable(self.evaluations)
            check_writable(self.path)
        self.read_evaluations()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Has what refuses to be written there raised as a UserError."""
        try:
            yield
        except (OSError, tf.errors.OpError) as error:
            raise UserError(f"cannot write the run folder {self.path}: {reason_of(error)}") from error

    def _is_unused(self) -> bool:
        """Whether the folder is empty, or holds only what a kill within :meth:`create` left."""
        return all(_LEFT_BY_CREATE.fullmatch(name.rstrip("/")) for name in gfile.listdir(self.path))

    def read_config(self) -> ExperimentConfig:
        """Returns the run's config.

        Raises:
            UserError: there is no run here, or its config is damaged.
        """
        if not self.exists():
            raise UserError(f"no run in {self.path} (no config.json); 'hamgan train --run {self.path}' makes one")
        return experiment_from_json(read_text(self.config_path), self.config_path)

    def write_config(self, config: ExperimentConfig) -> None:
        """Writes the run's config.

        Raises:
            UserError: the folder cannot be written.
        """
        with self._writing():
            write_atomically(self.config_path, to_json(config).encode())

    def write_class_names(self, names: Sequence[str]) -> None:
        """Writes the name of each class of the data set.

        Raises:
            UserError: the folder cannot be written.
        """
        with self._writing():
            write_atomically(self.class_names_path, (json.dumps(list(names), indent=1) + "\n").encode())

    def read_class_names(self) -> list[str] | None:
        """Returns the name of each class; None for a run of an earlier version, which did not keep them.

        Raises:
            UserError: the file is damaged or cannot be read.
        """
        if not gfile.exists(self.class_names_path):
            return None
        names = read_json(self.class_names_path)
        if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            raise UserError(f"{self.class_names_path} is damaged (expected a list of names); delete it")
        return names

    def append_metrics(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Adds a line per row to the metrics log."""
        with gfile.GFile(self.metrics_path, "a") as file:
            file.write("".join(json.dumps(row) + "\n" for row in rows))

    def end_torn_line(self) -> None:
        """Ends what a full disk left of a row in the metrics log, so that the next has a line of its own."""
        with gfile.GFile(self.metrics_path, "a") as file:
            file.write("\n")

    def read_metrics(self) -> list[dict[str, Any]]:
        """Returns the metrics log; lines torn by a kill or a full disk are left out.

        Raises:
            UserError: the log cannot be read.
        """
        return list(_rows(self.metrics_path))

    def forget_metrics_after(self, step: int) -> None:
        """Drops the log's rows that a resumed run is going to write again.

        Raises:
            UserError: the log cannot be read or written.
        """
        kept = [row for row in self.read_metrics() if row["step"] <= step]
        if gfile.exists(self.metrics_path):
            with self._writing():
                write_atomically(self.metrics_path, "".join(json.dumps(row) + "\n" for row in kept).encode())

    def samples_path(self, step: int) -> str:
        """Where the image grid of a step is."""
        return os.path.join(self.samples, f"step_{step:08d}.png")

    def sample_grids(self) -> dict[int, str]:
        """Returns the image grids' paths by step."""
        names = gfile.listdir(self.samples) if gfile.exists(self.samples) else []
        matches = [match for match in map(_GRID.fullmatch, sorted(names)) if match]
        return {int(match[1]): os.path.join(self.samples, match[0]) for match in matches}

    def write_evaluation(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """Writes an evaluation and returns it as written.

        One of the same step, checkpoint and protocol card is merged with it: what only the earlier one was asked for
        is kept.

        Args:
            result: the evaluation, with "step", "checkpoint", "card", "scores" and so on; see
                :meth:`hamgan.evaluation.evaluator.Evaluator.evaluate`.

        Raises:
            FailedError: it cannot be written.
        """
        files = self._evaluation_files([result], result["step"])
        (written,) = with_card_ids([with_defaults(result)])
        same = {path: earlier for path, earlier in files.items() if key_of(earlier) == key_of(written)}
        for earlier in same.values():
            written = merged(earlier, written)
        path = os.path.join(self.evaluations, key_of(written).file_name)
        try:
            write_atomically(path, (json.dumps(written, indent=1) + "\n").encode())
            for other in same.keys() - {path}:
                gfile.remove(other)
        except (OSError, tf.errors.OpError) as error:
            raise FailedError(
                f"cannot write {path}: {reason_of(error)}; make room or mend access, and run the same command again"
            ) from error
        return written

    def read_evaluations(self, made_now: Sequence[Mapping[str, Any]] = ()) -> list[dict[str, Any]]:
        """Returns all evaluations by step, those of other runs' checkpoints included.

        Args:
            made_now: cards and provenances of what is evaluated now; see :func:`hamgan.config.protocols.with_card_ids`.

        Raises:
            UserError: a file is damaged or cannot be read.
        """
        return sorted(self._evaluation_files(made_now).values(), key=lambda result: (result["step"], result["card_id"]))

    def _evaluation_files(
        self, made_now: Sequence[Mapping[str, Any]] = (), step: int | None = None
    ) -> dict[str, dict[str, Any]]:
        """The evaluations, of one step or all, by their files' paths."""
        try:
            names = sorted(gfile.listdir(self.evaluations)) if gfile.exists(self.evaluations) else []
        except (OSError, tf.errors.OpError) as error:
            raise UserError(f"cannot read {self.evaluations}: {reason_of(error)}") from error
        steps = {name: step_of_file(name) for name in names}
        wanted = [name for name, found in steps.items() if found is not None and step in (None, found)]
        paths = [os.path.join(self.evaluations, name) for name in wanted]
        results = [checked_result(read_json(path), path) for path in paths]
        return dict(zip(paths, with_card_ids(results, made_now), strict=True))

    def own_evaluations(self, evaluations: Sequence[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
        """Returns the evaluations of the run's own checkpoints by step: one for each step and protocol card.

        Left out are those of checkpoints that were read from elsewhere, and those of a checkpoint in whose place there
        is another one now.

        Args:
            evaluations: results that :meth:`read_evaluations` returned; by default they are read.

        Raises:
            UserError: a file is damaged or cannot be read.
        """
        digests: dict[int, str | None] = {}
        own: dict[tuple[int, str], dict[str, Any]] = {}
        everything = self.read_evaluations() if evaluations is None else evaluations
        for result in sorted(everything, key=lambda result: result["time"]):
            step = result["step"]
            if step not in digests:
                digests[step] = self.checkpoint_sha256(step)
            is_of_another = result["checkpoint"] is not None and digests[step] not in (None, result["checkpoint"])
            if result["source"] is None and not is_of_another:
                own[step, result["card_id"]] = result
        return [result for _, result in sorted(own.items())]

    def checkpoint_sha256(self, step: int) -> str | None:
        """Returns the SHA-256 of a step's checkpoint; None if it is not there."""
        return checkpoint_sha256(checkpoint_path(self.checkpoints, step))

    def best_step(self, among: Collection[int] | None = None) -> int | None:
        """Returns the step with the lowest FID of those that were evaluated (and are ``among``), or None.

        Only results that were made the same way are compared: those of the protocol card that most steps have, of
        several such that with the most images. A FID that is not finite is not compared.
        """
        found = [result for result in self.own_evaluations() if among is None or result["step"] in among]
        ranked = sorted(most_comparable(found), key=lambda result: (result["scores"]["fid"], result["step"]))
        return ranked[0]["step"] if ranked else None

    def read_collapses(self) -> list[dict[str, Any]]:
        """Returns what went wrong in training so far, in order; see :mod:`hamgan.training.collapse`.

        Raises:
            UserError: the file is damaged or cannot be read.
        """
        if not gfile.exists(self.collapses_path):
            return []
        collapses = read_json(self.collapses_path)
        if not (isinstance(collapses, list) and all(isinstance(c, dict) and c.keys() >= _COLLAPSE for c in collapses)):
            raise UserError(f"{self.collapses_path} is damaged (expected a list of collapses); delete it")
        return collapses

    def write_collapses(self, collapses: list[dict[str, Any]]) -> None:
        """Writes what :meth:`read_collapses` returns."""
        write_atomically(self.collapses_path, (json.dumps(collapses, indent=1) + "\n").encode())


def _rows(path: str) -> Iterator[dict[str, Any]]:
    """The objects with a "step" that a file has, one on a line."""
    for line in read_text(path).splitlines() if gfile.exists(path) else []:
        with contextlib.suppress(json.JSONDecodeError):
            row = json.loads(line)
            if isinstance(row, dict) and type(row.get("step")) is int:
                yield row
