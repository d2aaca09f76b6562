"""Local and ``gs://`` files: atomic writes, JSON, and paths that TensorFlow would read as patterns."""

import contextlib
import json
import os
import tempfile
import uuid
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from hamgan.errors import UserError, reason_of

FEATURE_CACHE = os.path.join("~", ".cache", "hamgan", "features")
"""Default cache folder of features and content digests; users expand ``~``."""

TEMPORARY_SUFFIX = ".tmp"
"""End of the names of files that are being written."""
_SPECIAL = frozenset("*?[\\")


def is_pattern(path: str) -> bool:
    """Whether TensorFlow may interpret a path as a glob pattern, such as ``runs/hinge[1]``."""
    return not _SPECIAL.isdisjoint(path)


def check_remote(path: str) -> None:
    """Checks that a ``gs://`` path contains no pattern characters; local paths may, see :func:`literal_path`.

    Raises:
        UserError: if the path is in a bucket and contains ``*``, ``?``, ``[`` or ``\\``.
    """
    if "://" in path and is_pattern(path):
        raise UserError(
            f"{path}: TensorFlow cannot read names in a bucket that contain * ? [ or \\; choose another name"
        )


@contextlib.contextmanager
def literal_path(path: str) -> Iterator[str]:
    """Yields an equivalent path without pattern characters.

    TensorFlow finds checkpoints and the variables of SavedModels by globbing. It does not find files in a folder named
    ``hinge[1]``, or finds those in ``hinge1`` instead. Symbolic links in a temporary folder provide a safe name.

    Args:
        path: local or ``gs://`` path of a file, a folder, or a checkpoint (without suffix).

    Raises:
        UserError: if the path is in a bucket and contains pattern characters.
        OSError: if the links cannot be created.
    """
    check_remote(path)
    if not is_pattern(path):
        yield path
        return
    folder, name = os.path.split(os.path.abspath(path))
    with tempfile.TemporaryDirectory(prefix="hamgan-") as links:
        if is_pattern(links):
            raise UserError(
                f"TMPDIR is {os.path.dirname(links)}, which TensorFlow would read as a pattern; set another folder"
            )
        literal = os.path.join(links, "literal")
        for entry in os.listdir(folder):
            if entry == name or entry.startswith(f"{name}."):
                os.symlink(os.path.join(folder, entry), literal + entry.removeprefix(name))
        yield literal


def read_text(path: str) -> str:
    """Returns the text of a file, with invalid UTF-8 replaced; the caller handles such damage.

    Raises:
        UserError: if the file cannot be read.
    """
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            return file.read().decode(errors="replace")
    except (OSError, tf.errors.OpError) as error:
        raise UserError(f"cannot read {path}: {reason_of(error)}") from error


def read_json(path: str) -> Any:
    """Returns the content of a JSON file.

    Raises:
        UserError: if the file cannot be read or is not valid JSON.
    """
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is damaged ({error}); delete it") from error


@contextlib.contextmanager
def atomic_file(path: str) -> Iterator[str]:
    """Yields a temporary path to write to; at the end of the ``with`` block, the file moves to ``path``.

    A local file is flushed to disk before it moves, so that a file with its final name is complete even after a power
    failure. If the block raises an exception, the temporary file is deleted.

    Args:
        path: final local or ``gs://`` path; its folder must exist.

    Raises:
        OSError, tf.errors.OpError: if the file cannot be flushed or moved.
    """
    temporary = f"{path}.{uuid.uuid4().hex}{TEMPORARY_SUFFIX}"
    try:
        yield temporary
        if "://" not in path:
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
        tf.io.gfile.rename(temporary, path, overwrite=True)
    except BaseException:
        with contextlib.suppress(OSError, tf.errors.OpError):
            tf.io.gfile.remove(temporary)
        raise


def write_atomically(path: str, content: bytes) -> None:
    """Writes a file atomically and creates missing parent folders.

    Several processes may write the same file at once: each uses its own temporary file, and the last rename wins.

    Args:
        path: local or ``gs://`` path of the file.
        content: new content of the file.

    Raises:
        OSError, tf.errors.OpError: if the file cannot be written; an existing file stays unchanged.

    Example:
        >>> from hamgan.files import read_text, write_atomically
        >>> write_atomically("notes/scores.txt", b"fid 12.3")
        >>> read_text("notes/scores.txt")
        'fid 12.3'
    """
    tf.io.gfile.makedirs(os.path.dirname(path) or ".")
    with atomic_file(path) as temporary, tf.io.gfile.GFile(temporary, "wb") as file:
        file.write(content)


def check_writable(folder: str) -> None:
    """Checks that a folder is writable, without leaving files behind or creating a missing folder.

    Args:
        folder: local or ``gs://`` folder; if missing, its nearest existing parent is checked.

    Raises:
        OSError, tf.errors.OpError: if the folder is not writable.
    """
    if "://" not in folder:
        folder = os.path.abspath(folder)
        while not os.path.lexists(folder):
            folder = os.path.dirname(folder)
    probe = os.path.join(folder, f".{uuid.uuid4().hex}{TEMPORARY_SUFFIX}")
    try:
        with tf.io.gfile.GFile(probe, "wb") as file:
            file.write(b"\n")
    finally:
        with contextlib.suppress(OSError, tf.errors.OpError):
            tf.io.gfile.remove(probe)
