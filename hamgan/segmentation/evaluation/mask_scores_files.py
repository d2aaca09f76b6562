"""Files of the results of segmentation in a run's folder: one for each checkpoint, data and settings."""

import hashlib
import json
import os
import re
from typing import Any

import tensorflow as tf

from hamgan.errors import FailedError, UserError, reason_of
from hamgan.files import read_json, write_atomically
from hamgan.runs.checkpoints import checkpoint_steps
from hamgan.runs.directory import RunDirectory

_FOLDER = "mask_scores"
_FILE = re.compile(r"step_(\d{8,})_[0-9a-f]{16}\.json")
_IDENTITY = ("step", "checkpoint", "data", "settings")
"""Entries that tell results apart: checkpoint, images and how the network was applied."""
_ENTRIES = {*_IDENTITY, "mean_iou", "confusion", "class_names", "num_images"}


def read_result(run: RunDirectory, identity: dict[str, Any]) -> dict[str, Any] | None:
    """Returns the result with an identity, or None if there is none.

    Args:
        run: folder of the run.
        identity: "step", "checkpoint" (SHA-256), "data" and "settings", as JSON values.

    Raises:
        UserError: if the file is damaged or cannot be read.
    """
    path = _path_of(run, identity)
    return _checked(path) if tf.io.gfile.exists(path) else None


def write_result(run: RunDirectory, result: dict[str, Any]) -> str:
    """Writes a result, and returns the path of its file.

    Args:
        run: folder of the run.
        result: the identity, see :func:`read_result`, and the scores, as JSON values.

    Raises:
        FailedError: if it cannot be written.
    """
    path = _path_of(run, result)
    try:
        write_atomically(path, (json.dumps(result) + "\n").encode())
    except (OSError, tf.errors.OpError) as error:
        raise FailedError(
            f"cannot write {path}: {reason_of(error)}; free space or fix permissions, then run the same command again"
        ) from error
    return path


def read_results(run: RunDirectory) -> list[dict[str, Any]]:
    """Returns all results of a run, by step.

    Raises:
        UserError: if a file is damaged or cannot be read.
    """
    folder = os.path.join(run.path, _FOLDER)
    names = sorted(tf.io.gfile.listdir(folder)) if tf.io.gfile.exists(folder) else []
    return [_checked(os.path.join(folder, name)) for name in names if _FILE.fullmatch(name)]


def best_step(run: RunDirectory) -> int | None:
    """Returns the step with the highest mIoU among existing checkpoints, or None if none was evaluated.

    It compares results on the same data with the same settings: those with the most steps, and of these the latest.

    Raises:
        UserError: if a file is damaged or cannot be read.
    """
    existing = set(checkpoint_steps(run.checkpoints))
    groups: dict[str, list[dict[str, Any]]] = {}
    for result in read_results(run):
        if result["step"] in existing and result["checkpoint"] == run.checkpoint_sha256(result["step"]):
            groups.setdefault(group_of(result), []).append(result)
    if not groups:
        return None
    group = max(groups.values(), key=lambda results: (len(results), results[-1]["step"]))
    return max(group, key=lambda result: (result["mean_iou"], -result["step"]))["step"]


def group_of(result: dict[str, Any]) -> str:
    """Returns a text that is equal for results on the same data with the same settings."""
    return json.dumps([result["data"], result["settings"]], sort_keys=True)


def _path_of(run: RunDirectory, result: dict[str, Any]) -> str:
    identity = json.dumps({name: result[name] for name in _IDENTITY}, sort_keys=True)
    digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
    return os.path.join(run.path, _FOLDER, f"step_{result['step']:08d}_{digest}.json")


def _checked(path: str) -> dict[str, Any]:
    result = read_json(path)
    if not isinstance(result, dict) or not result.keys() >= _ENTRIES:
        raise UserError(f"{path} is damaged (expected the result of an evaluation); delete it")
    return result
