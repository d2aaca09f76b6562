"""Checkpoints: an explicit mapping from names to variables, checked against what is restored."""

import os
import re
from collections.abc import Mapping

import tensorflow as tf

from hamgan.errors import UserError

_PREFIX = "ckpt"
_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
_SHOWN = 3
"""How many variables an error names."""


class Checkpoints:
    """The checkpoints of a run.

    Args:
        directory: where they are.
        variables: everything to save, by name.
        max_to_keep: how many of the newest are kept.
    """

    def __init__(self, directory: str, variables: Mapping[str, tf.Variable], max_to_keep: int) -> None:
        self._variables = variables
        self._directory = directory
        self._manager = tf.train.CheckpointManager(
            tf.train.Checkpoint(**variables), directory, max_to_keep=max_to_keep, checkpoint_name=_PREFIX
        )

    def save(self, step: int) -> None:
        """Saves all variables as the checkpoint of ``step``."""
        self._manager.save(checkpoint_number=step)

    def restore_latest(self) -> str | None:
        """Restores the newest checkpoint and returns its path, or None if there is none."""
        path = latest_checkpoint(self._directory)
        if path is not None:
            restore(path, self._variables)
        return path


def checkpoint_steps(directory: str) -> list[int]:
    """Returns the steps of the complete checkpoints in a folder, ascending."""
    pattern = re.compile(rf"{_PREFIX}-(\d+)\.index")
    names = tf.io.gfile.listdir(directory) if tf.io.gfile.exists(directory) else []
    return sorted(int(match[1]) for match in map(pattern.fullmatch, names) if match)


def checkpoint_path(directory: str, step: int) -> str:
    """Returns the path, without suffix, of a step's checkpoint."""
    return os.path.join(directory, f"{_PREFIX}-{step}")


def latest_checkpoint(directory: str) -> str | None:
    """Returns the path of the newest complete checkpoint in a folder, or None."""
    steps = checkpoint_steps(directory)
    return checkpoint_path(directory, steps[-1]) if steps else None


def restore(path: str, variables: Mapping[str, tf.Variable], *, part: str | None = None) -> None:
    """Restores variables, after checking that the checkpoint is of the same architecture.

    Args:
        path: of the checkpoint, without suffix.
        variables: what to restore, by name.
        part: only the variables whose names begin with ``part/`` are expected to be there; all if None.

    Raises:
        UserError: the checkpoint is missing or damaged, or its variables have other names or shapes. The variables are
            as they were.
    """
    found = _shapes(path)
    if part is not None:
        found = {name: shape for name, shape in found.items() if name.startswith(f"{part}/")}
    expected = {name: tuple(variable.shape) for name, variable in variables.items()}
    if found != expected:
        raise UserError(f"checkpoint {path} is of another architecture than its config: {_mismatch(expected, found)}")
    try:
        status = tf.train.Checkpoint(**variables).read(path)
        status.assert_existing_objects_matched()
        # What else there is, other parts and TensorFlow's counter of saves, is not to be warned of at exit.
        status.expect_partial()
    except (tf.errors.OpError, IndexError) as error:
        raise _damaged(path, error) from error


def checkpoint_parts(path: str) -> set[str]:
    """Returns the first components of the names of a checkpoint's variables, such as "generator"."""
    return {name.split("/")[0] for name in _shapes(path)}


def _shapes(path: str) -> dict[str, tuple[int, ...]]:
    if not tf.io.gfile.exists(f"{path}.index"):
        raise UserError(f"no checkpoint {path}: there is no {path}.index")
    try:
        shapes = tf.train.load_checkpoint(path).get_variable_to_shape_map()
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        raise _damaged(path, error) from error
    own = {
        name.removesuffix(_SUFFIX).replace(".S", "/"): tuple(shape)
        for name, shape in shapes.items()
        if name.endswith(_SUFFIX)
    }
    own.pop("save_counter", None)
    return own


def _mismatch(expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]) -> str:
    missing = sorted(expected.keys() - found.keys())
    surplus = sorted(found.keys() - expected.keys())
    misshapen = sorted(
        f"{name} is {found[name]} and should be {expected[name]}"
        for name in expected.keys() & found.keys()
        if expected[name] != found[name]
    )
    parts = []
    for title, names in (("missing", missing), ("unknown", surplus), ("misshapen", misshapen)):
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            parts.append(f"{title}: {', '.join(names[:_SHOWN])}{more}")
    return "; ".join(parts)


def _damaged(path: str, error: Exception) -> UserError:
    reason = str(getattr(error, "message", None) or error).splitlines()[0]
    return UserError(f"checkpoint {path} is damaged ({reason}); delete {path}.* to go on from the one before it")
