"""The evaluations in a run's folder: which there are, which are of the run's own checkpoints, and which is the best."""

import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import tensorflow as tf

from hamgan.config.protocols import most_comparable, with_card_ids
from hamgan.errors import FailedError, UserError, reason_of
from hamgan.files import read_json, write_atomically
from hamgan.runs.evaluation_results import checked_result, key_of, merged, step_of_file, with_defaults

gfile = tf.io.gfile


class RunEvaluations:
    """The folder of a run's evaluations, one JSON file for each checkpoint and protocol card.

    Args:
        path: path of the folder.
        checkpoint_sha256: function that returns the SHA-256 of a step's checkpoint, or None if it does not exist.

    Example:
        >>> from hamgan.runs.directory import RunDirectory
        >>> evaluations = RunDirectory("runs/digits").evaluations
        >>> evaluations.best_step() in {result["step"] for result in evaluations.own()}
        True
    """

    def __init__(self, path: str, checkpoint_sha256: Callable[[int], str | None]) -> None:
        self.path = path
        self._checkpoint_sha256 = checkpoint_sha256

    def write(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """Writes an evaluation and returns it as written.

        An earlier evaluation with the same step, checkpoint and protocol card is merged with it: scores that only the
        earlier one has are kept.

        Args:
            result: the evaluation, with "step", "checkpoint", "card", "scores" and so on; see
                :meth:`hamgan.evaluation.evaluator.Evaluator.evaluate`.

        Raises:
            FailedError: if the evaluation cannot be written.
        """
        files = self._files([result], result["step"])
        (written,) = with_card_ids([with_defaults(result)])
        same = {path: earlier for path, earlier in files.items() if key_of(earlier) == key_of(written)}
        for earlier in same.values():
            written = merged(earlier, written)
        path = os.path.join(self.path, key_of(written).file_name)
        try:
            write_atomically(path, (json.dumps(written, indent=1) + "\n").encode())
            for other in same.keys() - {path}:
                gfile.remove(other)
        except (OSError, tf.errors.OpError) as error:
            raise FailedError(
                f"cannot write {path}: {reason_of(error)}; free space or fix permissions, then run the same command "
                "again"
            ) from error
        return written

    def read(self, made_now: Sequence[Mapping[str, Any]] = ()) -> list[dict[str, Any]]:
        """Returns all evaluations by step, including those of other runs' checkpoints.

        Args:
            made_now: cards and provenances of current evaluations, see :func:`hamgan.config.protocols.with_card_ids`.

        Raises:
            UserError: if a file is damaged or cannot be read.
        """
        return sorted(self._files(made_now).values(), key=lambda result: (result["step"], result["card_id"]))

    def _files(self, made_now: Sequence[Mapping[str, Any]] = (), step: int | None = None) -> dict[str, dict[str, Any]]:
        """The evaluations of one step, or of all steps, by file path."""
        try:
            names = sorted(gfile.listdir(self.path)) if gfile.exists(self.path) else []
        except (OSError, tf.errors.OpError) as error:
            raise UserError(f"cannot read {self.path}: {reason_of(error)}") from error
        steps = {name: step_of_file(name) for name in names}
        wanted = [name for name, found in steps.items() if found is not None and step in (None, found)]
        paths = [os.path.join(self.path, name) for name in wanted]
        results = [checked_result(read_json(path), path) for path in paths]
        return dict(zip(paths, with_card_ids(results, made_now), strict=True))

    def own(self, evaluations: Sequence[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
        """Returns the evaluations of the run's own checkpoints by step, one for each step and protocol card.

        Evaluations of checkpoints from other folders, or of checkpoints replaced since, are left out.

        Args:
            evaluations: results of :meth:`read`; read from the folder by default.

        Raises:
            UserError: if a file is damaged or cannot be read.
        """
        digests: dict[int, str | None] = {}
        own: dict[tuple[int, str], dict[str, Any]] = {}
        everything = self.read() if evaluations is None else evaluations
        for result in sorted(everything, key=lambda result: result["time"]):
            step = result["step"]
            if step not in digests:
                digests[step] = self._checkpoint_sha256(step)
            is_of_another = result["checkpoint"] is not None and digests[step] not in (None, result["checkpoint"])
            if result["source"] is None and not is_of_another:
                own[step, result["card_id"]] = result
        return [result for _, result in sorted(own.items())]

    def best_step(self, among: Collection[int] | None = None) -> int | None:
        """Returns the evaluated step with the lowest FID, or None.

        Compares only results of one protocol card: the one with the most steps and, among equals, the most images.
        Ignores FIDs that are not finite.

        Args:
            among: steps to choose from; all evaluated steps by default.
        """
        found = [result for result in self.own() if among is None or result["step"] in among]
        ranked = sorted(most_comparable(found), key=lambda result: (result["scores"]["fid"], result["step"]))
        return ranked[0]["step"] if ranked else None
