"""Checkpoint files: an explicit mapping from names to variables, checked when it is written and when it is read."""

import logging
import os
import re
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from hamgan.errors import UserError, reason_of

_logger = logging.getLogger(__name__)

PREFIX = "ckpt"
TEMPORARY_PREFIX = "incomplete-"
_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
_SHOWN = 3
"""How many variables an error names."""


class DamagedCheckpointError(UserError):
    """A checkpoint is there and cannot be read."""


def write_checkpoint(path: str, variables: Mapping[str, tf.Variable]) -> None:
    """Writes a checkpoint, which appears when it is complete and has been read back.

    Args:
        path: without suffix, ``DIRECTORY/ckpt-STEP``; what is there is replaced.
        variables: what to save, by name.

    Raises:
        OSError: what was written does not read back as it should.
        tf.errors.OpError: it cannot be written.
    """
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f"{TEMPORARY_PREFIX}{name}")
    tf.io.gfile.makedirs(directory)
    try:
        tf.train.Checkpoint(**variables).write(temporary)
        _verify(temporary, variables)
        # The index says that there is a checkpoint: it goes first and comes last.
        if tf.io.gfile.exists(f"{path}.index"):
            delete_checkpoint(path)
        for part in (*tf.io.gfile.glob(f"{temporary}.data-*"), f"{temporary}.index"):
            tf.io.gfile.rename(part, path + part.removeprefix(temporary), overwrite=True)
    except BaseException:
        _delete_all(f"{temporary}*")
        raise


def _verify(path: str, variables: Mapping[str, tf.Variable]) -> None:
    try:
        reader = tf.train.load_checkpoint(path)
        keys = _keys(reader)
        changed = [
            name
            for name, variable in variables.items()
            if reader.get_tensor(keys[name]).tobytes() != variable.numpy().tobytes()
        ]
    except (IndexError, KeyError, RuntimeError, ValueError) as error:
        raise OSError(f"what was written does not read back: {reason_of(error)}") from error
    if changed:
        raise OSError(f"what was written of {changed[0]} reads back otherwise")


def delete_checkpoint(path: str) -> None:
    """Deletes a checkpoint; killed in the middle, it is gone all the same."""
    tf.io.gfile.remove(f"{path}.index")
    _delete_all(f"{path}.data-*")


def delete_unfinished(directory: str) -> None:
    """Deletes what a kill left of checkpoints that were being written or deleted."""
    _delete_all(os.path.join(directory, f"{TEMPORARY_PREFIX}*"))
    steps = checkpoint_steps(directory)
    for path in tf.io.gfile.glob(os.path.join(directory, f"{PREFIX}-*.data-*")):
        match = re.fullmatch(rf"{PREFIX}-(\d+)\.data-.*", os.path.basename(path))
        if match and int(match[1]) not in steps:
            tf.io.gfile.remove(path)


def _delete_all(pattern: str) -> None:
    for path in tf.io.gfile.glob(pattern):
        if tf.io.gfile.isdir(path):
            tf.io.gfile.rmtree(path)
        else:
            tf.io.gfile.remove(path)


def restore_newest(directory: str, variables: Mapping[str, tf.Variable]) -> str | None:
    """Restores the newest checkpoint that can be read, and warns of those that cannot.

    Returns:
        Its path, or None if there is no checkpoint.

    Raises:
        UserError: there are checkpoints and none can be read, or they are of another architecture.
    """
    steps = checkpoint_steps(directory)
    for step in reversed(steps):
        path = checkpoint_path(directory, step)
        try:
            restore(path, variables)
        except DamagedCheckpointError as error:
            _logger.warning("WARNING %s; going back to the one before it", error)
        else:
            return path
    if steps:
        raise UserError(f"none of the {len(steps)} checkpoints in {directory} can be read; delete them to begin anew")
    return None


def checkpoint_steps(directory: str) -> list[int]:
    """Returns the steps of the complete checkpoints in a folder, ascending."""
    pattern = re.compile(rf"{PREFIX}-(\d+)\.index")
    names = tf.io.gfile.listdir(directory) if tf.io.gfile.exists(directory) else []
    return sorted(int(match[1]) for match in map(pattern.fullmatch, names) if match)


def checkpoint_path(directory: str, step: int) -> str:
    """Returns the path, without suffix, of a step's checkpoint."""
    return os.path.join(directory, f"{PREFIX}-{step}")


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
        reader = tf.train.load_checkpoint(path)
        shapes = reader.get_variable_to_shape_map()
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        raise _damaged(path, error) from error
    return {name: tuple(shapes[key]) for name, key in _keys(reader).items()}


def _keys(reader: Any) -> dict[str, str]:
    """The keys of a checkpoint's variables by our names for them."""
    keys = {
        key.removesuffix(_SUFFIX).replace(".S", "/"): key
        for key in reader.get_variable_to_shape_map()
        if key.endswith(_SUFFIX)
    }
    keys.pop("save_counter", None)
    return keys


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


def _damaged(path: str, error: Exception) -> DamagedCheckpointError:
    return DamagedCheckpointError(f"checkpoint {path} is damaged ({reason_of(error)})")
