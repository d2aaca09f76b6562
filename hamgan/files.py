"""Files, local and in buckets: written whole or not at all, and read under any name."""

import contextlib
import json
import os
import tempfile
import uuid
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from hamgan.errors import UserError, reason_of

_TEMPORARY = ".tmp"
_SPECIAL = frozenset("*?[\\")


def is_pattern(path: str) -> bool:
    """Whether TensorFlow may take a path for a pattern, such as ``runs/hinge[1]``."""
    return not _SPECIAL.isdisjoint(path)


def check_remote(path: str) -> None:
    """Checks that a path in a bucket is no pattern; a local one may be: see :func:`literal_path`.

    Raises:
        UserError: it is one.
    """
    if "://" in path and is_pattern(path):
        raise UserError(
            f"{path}: TensorFlow cannot read names in a bucket that contain * ? [ or \\; choose another name"
        )


@contextlib.contextmanager
def literal_path(path: str) -> Iterator[str]:
    """Yields a path of the same files that TensorFlow does not take for a pattern.

    TensorFlow looks for checkpoints and the variables of SavedModels by pattern: what is in a folder named ``hinge[1]``
    is not found, or that of ``hinge1`` is. Symbolic links in a temporary folder give such files another name.

    Args:
        path: path of a file or folder, or of a checkpoint without suffix; local or ``gs://``.

    Raises:
        UserError: the path is a pattern and in a bucket.
        OSError: the links cannot be made.
    """
    check_remote(path)
    if not is_pattern(path):
        yield path
        return
    folder, name = os.path.split(os.path.abspath(path))
    with tempfile.TemporaryDirectory(prefix="hamgan-") as links:
        if is_pattern(links):
            raise UserError(f"TMPDIR is {os.path.dirname(links)}, which TensorFlow takes for a pattern; set another")
        literal = os.path.join(links, "literal")
        for entry in os.listdir(folder):
            if entry == name or entry.startswith(f"{name}."):
                os.symlink(os.path.join(folder, entry), literal + entry.removeprefix(name))
        yield literal


def read_text(path: str) -> str:
    """Returns the text of a file. Bytes that are not UTF-8 are replaced: they are damage that the reader has to answer.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            return file.read().decode(errors="replace")
    except (OSError, tf.errors.OpError) as error:
        raise UserError(f"cannot read {path}: {reason_of(error)}") from error


def read_json(path: str) -> Any:
    """Returns the content of a JSON file.

    Raises:
        UserError: the file cannot be read, or is damaged.
    """
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is damaged ({error}); delete it") from error


def write_atomically(path: str, content: bytes) -> None:
    """Writes a file, and the folders above it, so that it is there whole or not at all.

    Several processes may write the same file at once: each has a temporary file of its own, and the last one wins.
    """
    tf.io.gfile.makedirs(os.path.dirname(path) or ".")
    temporary = f"{path}.{uuid.uuid4().hex}{_TEMPORARY}"
    try:
        with tf.io.gfile.GFile(temporary, "wb") as file:
            file.write(content)
        tf.io.gfile.rename(temporary, path, overwrite=True)
    except BaseException:
        with contextlib.suppress(OSError, tf.errors.OpError):
            tf.io.gfile.remove(temporary)
        raise


def check_writable(folder: str) -> None:
    """Checks that files can be written into a folder, and leaves nothing there; a missing folder is not made.

    Args:
        folder: local or ``gs://``; if it does not exist, the nearest folder above it that does is tried.

    Raises:
        OSError, tf.errors.OpError: they cannot.
    """
    if "://" not in folder:
        folder = os.path.abspath(folder)
        while not os.path.lexists(folder):
            folder = os.path.dirname(folder)
    probe = os.path.join(folder, f".{uuid.uuid4().hex}{_TEMPORARY}")
    try:
        with tf.io.gfile.GFile(probe, "wb") as file:
            file.write(b"\n")
    finally:
        with contextlib.suppress(OSError, tf.errors.OpError):
            tf.io.gfile.remove(probe)
