"""Local files and files in buckets (``gs://``) through one interface.

Local files are read by Python, whose errors and file descriptors are needed here; TensorFlow serves buckets.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import tensorflow as tf

from hamgan.errors import UserError, reason_of


@contextlib.contextmanager
def errors_as_user_errors() -> Iterator[None]:
    """Converts errors of disks and buckets to a UserError."""
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        raise UserError(f"{reason_of(error)}; fix this and run the same command again to resume") from error


class FileStatus(NamedTuple):
    """Size and modification time of a file.

    Args:
        size: size in bytes.
        modified: modification time, in an unspecified unit; only good for comparisons.
    """

    size: int
    modified: int


def is_remote(path: str) -> bool:
    """Whether a path is in a bucket (``gs://...``)."""
    return "://" in path


def join(folder: str, *names: str) -> str:
    """Returns the path of a name in a folder, local or remote."""
    return "/".join((folder.rstrip("/"), *names))


def canonical(path: str) -> str:
    """Returns a path that is the same for all spellings of a local path."""
    return path.rstrip("/") if is_remote(path) else os.path.realpath(path)


def open_binary(path: str) -> BinaryIO:
    """Opens a file for reading and seeking."""
    return tf.io.gfile.GFile(path, "rb") if is_remote(path) else open(path, "rb")


def read_text(path: str) -> str:
    """Returns the text of a UTF-8 file."""
    with open_binary(path) as file:
        return file.read().decode()


def status(path: str) -> FileStatus:
    """Returns the size and modification time of a file.

    Raises:
        OSError, tf.errors.OpError: the file cannot be read.
    """
    if is_remote(path):
        remote = tf.io.gfile.stat(path)
        return FileStatus(remote.length, remote.mtime_nsec)
    local = os.stat(path)
    return FileStatus(local.st_size, local.st_mtime_ns)


def exists(path: str) -> bool:
    """Whether a file or folder exists."""
    return tf.io.gfile.exists(path) if is_remote(path) else os.path.exists(path)


def is_folder(path: str) -> bool:
    """Whether a path is an existing folder."""
    return tf.io.gfile.isdir(path) if is_remote(path) else os.path.isdir(path)


def children(folder: str) -> list[tuple[str, bool]]:
    """Returns the entries of a folder, sorted by name, as pairs of name and whether the entry is a folder."""
    if is_remote(folder):
        return sorted((name.rstrip("/"), _is_remote_folder(folder, name)) for name in tf.io.gfile.listdir(folder))
    with os.scandir(folder) as entries:
        return sorted((entry.name, entry.is_dir()) for entry in entries)


def _is_remote_folder(folder: str, name: str) -> bool:
    # Each query costs a request, so names with an extension are taken to be files.
    return name.endswith("/") or ("." not in name and tf.io.gfile.isdir(join(folder, name)))


def make_folder(path: str) -> None:
    """Creates a folder and its parents, unless they exist."""
    if is_remote(path):
        tf.io.gfile.makedirs(path)
    else:
        os.makedirs(path, exist_ok=True)


def move_folder(folder: str, target: str, *, last: str) -> None:
    """Moves a folder, atomically on a local disk and file by file in a bucket.

    Args:
        folder: path of the folder.
        target: new path, which must not exist.
        last: name of the file to move last in a bucket.
    """
    if not is_remote(folder):
        os.rename(folder, target)
        return
    for name in sorted(tf.io.gfile.listdir(folder), key=lambda name: (name == last, name)):
        tf.io.gfile.rename(join(folder, name), join(target, name), overwrite=True)
    tf.io.gfile.rmtree(folder)


def read_ahead(file: BinaryIO, offset: int, size: int) -> None:
    """Tells the operating system that a range of a local file will be read soon.

    Args:
        file: open local file.
        offset: start of the range, in bytes.
        size: length of the range, in bytes.
    """
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), offset, size, os.POSIX_FADV_WILLNEED)


def remove(path: str) -> None:
    """Deletes a file."""
    if is_remote(path):
        tf.io.gfile.remove(path)
    else:
        os.remove(path)


def free_bytes(path: str) -> int | None:
    """Returns the free disk space at an existing or future path, in bytes; None if it is unknown."""
    if is_remote(path):
        return None
    while not os.path.exists(path):
        path = os.path.dirname(os.path.abspath(path))
    return shutil.disk_usage(path).free
