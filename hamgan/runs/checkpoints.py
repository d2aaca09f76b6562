"""Checkpoint files: explicit mappings from names to variables, verified when written and when read."""

import contextlib
import hashlib
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hamgan.counted import counted
from hamgan.errors import UserError, reason_of
from hamgan.files import literal_path

_logger = logging.getLogger(__name__)

PREFIX = "ckpt"
EMA_NAME = "ema_generator"
"""Name of the generator's moving average in checkpoints."""
TEMPORARY_PREFIX = "incomplete-"
_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
_SHOWN = 3
"""Maximum number of variables that an error names."""


class DamagedCheckpointError(UserError):
    """A checkpoint exists but is damaged."""


def network_variables(network: keras.Model) -> dict[str, tf.Variable]:
    """Returns a network's variables by their names in checkpoints."""
    named = {variable.path: variable.value for variable in network.weights}
    if len(named) != len(network.weights):
        raise ValueError(f"the weights of {network.name} do not have distinct paths")
    return named


def write_checkpoint(path: str, variables: Mapping[str, tf.Variable]) -> None:
    """Writes a checkpoint atomically and verifies it by reading it back.

    Args:
        path: path of the checkpoint without suffix, ``DIRECTORY/ckpt-STEP``; an existing one is replaced.
        variables: variables to save, by name.

    Raises:
        OSError: if the checkpoint does not read back as it was written.
        tf.errors.OpError: if the checkpoint cannot be written.
    """
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f"{TEMPORARY_PREFIX}{name}")
    tf.io.gfile.makedirs(directory)
    try:
        tf.train.Checkpoint(**variables).write(temporary)
        _verify(temporary, variables)
        # A checkpoint exists if its index does: delete the index first and write it last.
        if tf.io.gfile.exists(f"{path}.index"):
            delete_checkpoint(path)
        written = _listed(directory, lambda entry: entry.startswith(f"{os.path.basename(temporary)}.data-"))
        for part in (*written, f"{temporary}.index"):
            tf.io.gfile.rename(part, path + part.removeprefix(temporary), overwrite=True)
    except BaseException:
        # The original error matters more; resuming the run deletes the remaining files.
        with contextlib.suppress(OSError, tf.errors.OpError):
            _delete_all(directory, lambda entry: entry.startswith(os.path.basename(temporary)))
        raise


def _verify(path: str, variables: Mapping[str, tf.Variable]) -> None:
    try:
        with open_checkpoint(path) as reader:
            keys = _keys(reader)
            changed = [
                name
                for name, variable in variables.items()
                if reader.get_tensor(keys[name]).tobytes() != variable.numpy().tobytes()
            ]
    except (IndexError, KeyError, RuntimeError, ValueError) as error:
        raise OSError(f"the checkpoint does not read back: {reason_of(error)}") from error
    if changed:
        raise OSError(f"{changed[0]} does not read back as it was written")


@contextlib.contextmanager
def open_checkpoint(path: str) -> Iterator[Any]:
    """Opens a TensorFlow checkpoint, even if its path contains pattern characters.

    Args:
        path: path of the checkpoint, without suffix.

    Yields:
        Checkpoint reader of ``tf.train.load_checkpoint``, valid within the context.

    Raises:
        UserError: if the path is in a bucket and contains pattern characters.
        OSError, tf.errors.OpError, RuntimeError, ValueError: if the checkpoint cannot be read.
    """
    with literal_path(path) as literal:
        yield tf.train.load_checkpoint(literal)


def delete_checkpoint(path: str) -> None:
    """Deletes a checkpoint, index first: an interrupted deletion leaves no readable checkpoint."""
    tf.io.gfile.remove(f"{path}.index")
    directory, name = os.path.split(path)
    _delete_all(directory, lambda entry: entry.startswith(f"{name}.data-"))


def delete_unfinished(directory: str) -> None:
    """Deletes the files of checkpoints whose writing or deletion was interrupted."""
    steps = checkpoint_steps(directory)

    def is_unfinished(entry: str) -> bool:
        data = re.fullmatch(rf"{PREFIX}-(\d+)\.data-.*", entry)
        return entry.startswith(TEMPORARY_PREFIX) or (data is not None and int(data[1]) not in steps)

    if tf.io.gfile.exists(directory):
        _delete_all(directory, is_unfinished)


def _listed(directory: str, matches: Callable[[str], bool]) -> list[str]:
    """Paths of the matching entries. (``gfile.glob`` would interpret the folder as a pattern.)"""
    entries = (entry.rstrip("/") for entry in tf.io.gfile.listdir(directory))
    return [os.path.join(directory, entry) for entry in sorted(entries) if matches(entry)]


def _delete_all(directory: str, matches: Callable[[str], bool]) -> None:
    for path in _listed(directory, matches):
        if tf.io.gfile.isdir(path):
            tf.io.gfile.rmtree(path)
        else:
            tf.io.gfile.remove(path)


def restore_newest(directory: str, variables: Mapping[str, tf.Variable]) -> str | None:
    """Restores the newest readable checkpoint and warns about damaged ones.

    Returns:
        Path of the restored checkpoint, or None if there is none.

    Raises:
        UserError: if no existing checkpoint can be read, or the newest has another architecture.
    """
    steps = checkpoint_steps(directory)
    for step in reversed(steps):
        path = checkpoint_path(directory, step)
        try:
            restore(path, variables)
        except DamagedCheckpointError as error:
            _logger.warning("WARNING %s; using the previous one", error)
        else:
            return path
    if steps:
        raise UserError(
            f"expected a checkpoint that can be read in {directory}, found {counted(len(steps), 'damaged one')}; "
            "delete what is there to start over"
        )
    return None


def checkpoint_steps(directory: str) -> list[int]:
    """Returns the steps of the complete checkpoints in a folder, ascending.

    Raises:
        UserError: if the folder cannot be read.
    """
    pattern = re.compile(rf"{PREFIX}-(\d+)\.index")
    try:
        names = tf.io.gfile.listdir(directory) if tf.io.gfile.exists(directory) else []
    except tf.errors.OpError as error:
        raise UserError(f"cannot read the checkpoints in {directory}: {reason_of(error)}") from error
    return sorted(int(match[1]) for match in map(pattern.fullmatch, names) if match)


def checkpoint_path(directory: str, step: int) -> str:
    """Returns the path, without suffix, of a step's checkpoint."""
    return os.path.join(directory, f"{PREFIX}-{step}")


def latest_checkpoint(directory: str) -> str | None:
    """Returns the path of the newest complete checkpoint in a folder, or None."""
    steps = checkpoint_steps(directory)
    return checkpoint_path(directory, steps[-1]) if steps else None


def restore(path: str, variables: Mapping[str, tf.Variable], *, part: str | None = None) -> None:
    """Restores variables after checking that the checkpoint has the same architecture.

    Args:
        path: path of the checkpoint, without suffix.
        variables: variables to restore, by name.
        part: first component of the names to restore, such as "generator"; None for the whole checkpoint.

    Raises:
        UserError: if the checkpoint is missing or cannot be read, or its variables have other names or shapes. The
            variables stay unchanged.
        DamagedCheckpointError: if the checkpoint is damaged.
    """
    found = variable_shapes(path)
    if part is not None:
        found = {name: shape for name, shape in found.items() if name.startswith(f"{part}/")}
    expected = {name: tuple(variable.shape) for name, variable in variables.items()}
    if found != expected:
        raise UserError(f"checkpoint {path} has another architecture than its config: {_mismatch(expected, found)}")
    try:
        with literal_path(path) as literal:
            status = tf.train.Checkpoint(**variables).read(literal)
        status.assert_existing_objects_matched()
        # Prevents warnings at exit about other parts and TensorFlow's save counter.
        status.expect_partial()
    except (tf.errors.OpError, IndexError) as error:
        raise _damaged(path, error) from error


def checkpoint_parts(path: str) -> set[str]:
    """Returns the first components of the names of a checkpoint's variables, such as "generator"."""
    return {name.split("/")[0] for name in variable_shapes(path)}


def variable_shapes(path: str) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of a checkpoint's variables by name.

    Args:
        path: path of the checkpoint, without suffix.

    Raises:
        UserError: if the checkpoint is missing or cannot be read.
        DamagedCheckpointError: if the checkpoint is damaged.
    """
    with _reading(path) as reader:
        shapes = reader.get_variable_to_shape_map()
        return {name: tuple(shapes[key]) for name, key in _keys(reader).items()}


def read_variables(path: str, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Returns the values of some of a checkpoint's variables by name.

    Args:
        path: path of the checkpoint, without suffix.
        names: names of variables, all of which the checkpoint has.

    Raises:
        UserError: if the checkpoint is missing or cannot be read.
        DamagedCheckpointError: if the checkpoint is damaged.
    """
    with _reading(path) as reader:
        keys = _keys(reader)
        return {name: reader.get_tensor(keys[name]) for name in names}


@contextlib.contextmanager
def _reading(path: str) -> Iterator[Any]:
    """Opens a checkpoint, and converts errors in reading it as :func:`read_variables` documents."""
    _check_readable(path)
    try:
        with open_checkpoint(path) as reader:
            yield reader
    except (tf.errors.OpError, IndexError, RuntimeError, ValueError) as error:
        raise _damaged(path, error) from error


def _check_readable(path: str) -> None:
    """Raises a ``UserError`` if a checkpoint is missing or not readable, as opposed to damaged."""
    directory, name = os.path.split(path)
    try:
        if not tf.io.gfile.exists(f"{path}.index"):
            raise UserError(f"no checkpoint {path}: there is no {path}.index")
        parts = _listed(directory, lambda entry: entry == f"{name}.index" or entry.startswith(f"{name}.data-"))
        for part in parts:
            with tf.io.gfile.GFile(part, "rb") as file:
                file.read(1)
    except tf.errors.OpError as error:
        raise UserError(f"checkpoint {path} cannot be read now: {reason_of(error)}") from error


def _keys(reader: Any) -> dict[str, str]:
    """Keys of a checkpoint's variables by variable name."""
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


def checkpoint_sha256(path: str) -> str | None:
    """Returns the SHA-256 of a checkpoint's index, or None if it does not exist.

    The index contains a checksum of every tensor.

    Args:
        path: path of the checkpoint, without suffix.

    Raises:
        UserError: if the checkpoint cannot be read.
    """
    try:
        with tf.io.gfile.GFile(f"{path}.index", "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except tf.errors.NotFoundError:
        return None
    except (OSError, tf.errors.OpError) as error:
        raise UserError(f"cannot read checkpoint {path}: {reason_of(error)}") from error
