"""Files on local disks and in buckets, through one interface.

TensorFlow's file system serves buckets. It is imported when the first bucket is named: local work starts without it.
"""

import os
import shutil
from types import ModuleType
from typing import BinaryIO, NamedTuple


class FileStatus(NamedTuple):
    """Size in bytes and time of the last change (in any unit, only to be compared)."""

    size: int
    modified: int


def is_remote(path: str) -> bool:
    """Whether a path names a bucket (``gs://...``) and not a local file."""
    return "://" in path


def join(folder: str, *names: str) -> str:
    """Returns the path of a name in a folder, local or remote."""
    return "/".join((folder.rstrip("/"), *names))


def canonical(path: str) -> str:
    """Returns the same path for all names of a local file or folder."""
    return path.rstrip("/") if is_remote(path) else os.path.realpath(path)


def open_binary(path: str) -> BinaryIO:
    """Opens a file for reading and seeking."""
    return _gfile().GFile(path, "rb") if is_remote(path) else open(path, "rb")


def status(path: str) -> FileStatus:
    """Returns a file's size and time.

    Raises:
        OSError: it cannot be read.
    """
    if is_remote(path):
        remote = _gfile().stat(path)
        return FileStatus(remote.length, remote.mtime_nsec)
    local = os.stat(path)
    return FileStatus(local.st_size, local.st_mtime_ns)


def exists(path: str) -> bool:
    """Whether there is a file or folder of that path."""
    return _gfile().exists(path) if is_remote(path) else os.path.exists(path)


def is_folder(path: str) -> bool:
    """Whether there is a folder of that path."""
    return _gfile().isdir(path) if is_remote(path) else os.path.isdir(path)


def children(folder: str) -> list[tuple[str, bool]]:
    """Returns the names in a folder, sorted, each with whether it is a folder."""
    if is_remote(folder):
        return sorted((name.rstrip("/"), _is_remote_folder(folder, name)) for name in _gfile().listdir(folder))
    with os.scandir(folder) as entries:
        return sorted((entry.name, entry.is_dir()) for entry in entries)


def _is_remote_folder(folder: str, name: str) -> bool:
    """Asks only about names that might be folders: each question costs a message."""
    return name.endswith("/") or ("." not in name and _gfile().isdir(join(folder, name)))


def make_folder(path: str) -> None:
    """Makes a folder and those above it, unless they are there."""
    if is_remote(path):
        _gfile().makedirs(path)
    else:
        os.makedirs(path, exist_ok=True)


def read_text(path: str) -> str:
    """Returns a file's text."""
    with open_binary(path) as file:
        return file.read().decode()


def write_text(path: str, text: str) -> None:
    """Writes a file that appears whole or not at all."""
    encoded = text.encode(errors="backslashreplace")  # names that are not UTF-8 come as surrogates
    if is_remote(path):  # an object appears when it is closed
        with _gfile().GFile(path, "wb") as file:
            file.write(encoded)
        return
    temporary = f"{path}.{os.getpid()}.tmp"
    with open(temporary, "wb") as file:
        file.write(encoded)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def move_into_place(temporary: str, path: str) -> None:
    """Gives a finished file its name, once its bytes are on the disk."""
    if is_remote(path):
        _gfile().rename(temporary, path, overwrite=True)
        return
    with open(temporary, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)


def move_folder(folder: str, target: str, *, last: str) -> None:
    """Moves a folder: at once on a local disk, file by file in a bucket, the one named ``last`` at the end."""
    if not is_remote(folder):
        os.rename(folder, target)
        return
    for name in sorted(_gfile().listdir(folder), key=lambda name: (name == last, name)):
        _gfile().rename(join(folder, name), join(target, name), overwrite=True)
    _gfile().rmtree(folder)


def read_ahead(file: BinaryIO, offset: int, size: int) -> None:
    """Tells the system that part of a local file will be read soon."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), offset, size, os.POSIX_FADV_WILLNEED)


def remove(path: str) -> None:
    """Removes a file."""
    if is_remote(path):
        _gfile().remove(path)
    else:
        os.remove(path)


def free_bytes(path: str) -> int | None:
    """Returns how much may still be written where ``path`` is or will be; None if that is unknown."""
    if is_remote(path):
        return None
    while not os.path.exists(path):
        path = os.path.dirname(os.path.abspath(path))
    return shutil.disk_usage(path).free


def _gfile() -> ModuleType:
    import tensorflow as tf

    return tf.io.gfile
