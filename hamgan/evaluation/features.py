"""Features of a classifier on disk: written in batches, resumable, and read without loading them into memory."""

import hashlib
import json
import os
import shutil
import time
import zlib
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import tensorflow as tf

from hamgan.errors import FailedError, UserError, reason_of
from hamgan.files import FEATURE_CACHE, write_atomically

DEFAULT_FOLDER = FEATURE_CACHE
SAVE_SECONDS = 5.0
_BLOCK_BYTES = 1 << 22
ARRAYS = {"logits": np.float32, "pool_3": np.float32, "labels": np.int32}


class Features(NamedTuple):
    """Features of n images: ``logits`` (n, classes), ``pool_3`` (n, width) and ``labels`` (n,)."""

    logits: np.ndarray
    pool_3: np.ndarray
    labels: np.ndarray

    def rows(self, first: int, last: int) -> "Features":
        """Returns the features of images ``first`` to ``last - 1``."""
        return Features(*(array[first:last] for array in self))


class FeatureStore:
    """The features of ``count`` images, in a folder of their own whose name is a digest of ``content``.

    Several processes may fill the same store at once: they write the same rows. If one deletes the store, the others
    keep their open files.

    Args:
        folder: local folder of all stores.
        content: everything that the features depend on, as JSON values.
        count: number of images.

    Raises:
        UserError: the folder is not local, or cannot be read or written.
    """

    def __init__(self, folder: str, content: Mapping[str, Any], count: int) -> None:
        folder = os.path.expanduser(folder)
        if "://" in folder:
            raise UserError(f"features are kept in a local folder, found {folder}; pass --cache_dir with a local one")
        self.count = count
        text = json.dumps({**content, "count": count}, sort_keys=True)
        self.path = os.path.join(folder, hashlib.sha256(text.encode()).hexdigest()[:16])
        self._content = json.loads(text)
        self._progress_path = os.path.join(self.path, "progress.json")
        self._files: dict[str, BinaryIO] = {}
        self._features: Features | None = None
        self._widths: dict[str, int] = {}
        self._checksums = dict.fromkeys(ARRAYS, 0)
        self.rows = 0
        """Number of images whose features are stored."""
        try:
            os.makedirs(self.path, exist_ok=True)
            self._resume()
        except OSError as error:
            raise UserError(f"cannot use {folder} for features: {reason_of(error)}; pass --cache_dir") from error
        self._saved_at = time.monotonic()

    def _resume(self) -> None:
        """Keeps the existing rows, if the recorded progress matches the files."""
        try:
            with open(self._progress_path, "rb") as file:
                progress = json.load(file)
            rows, widths, checksums = progress["rows"], progress["widths"], progress["crc32"]
            sizes = {name: rows * widths[name] * np.dtype(kind).itemsize for name, kind in ARRAYS.items()}
            files = {
                name: open(self._array_path(name), "rb" if rows == self.count else "r+b")  # noqa: SIM115
                for name in ARRAYS
            }
            is_whole = 0 < rows <= self.count and all(
                widths[name] > 0 and _checksum(files[name], size) == checksums[name] for name, size in sizes.items()
            )
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return
        if is_whole:
            self.rows, self._widths, self._checksums, self._files = rows, widths, checksums, files

    @property
    def is_complete(self) -> bool:
        """Whether all features are stored."""
        return self.rows == self.count

    def append(self, logits: np.ndarray, pool_3: np.ndarray, labels: np.ndarray) -> None:
        """Appends the features of the next images.

        Raises:
            FailedError: the disk is full or not writable.
        """
        arrays = {"logits": logits, "pool_3": pool_3, "labels": np.reshape(labels, (-1, 1))}
        widths = {name: array.shape[1] for name, array in arrays.items()}
        if self.rows == 0:
            self._widths = widths
        if widths != self._widths or self.rows + len(labels) > self.count:
            raise ValueError(f"{self.path} holds {self._widths} x {self.count}, received {widths} after {self.rows}")
        try:
            for name, array in arrays.items():
                kind = np.dtype(ARRAYS[name])
                content = np.ascontiguousarray(array, kind).tobytes()
                file = self._file(name)
                file.seek(self.rows * widths[name] * kind.itemsize)
                file.write(content)
                file.flush()
                self._checksums[name] = zlib.crc32(content, self._checksums[name])
        except OSError as error:
            raise self._failed(error) from error
        self.rows += len(labels)
        if self.is_complete or time.monotonic() - self._saved_at > SAVE_SECONDS:
            self.save()

    def _file(self, name: str) -> BinaryIO:
        """A file that is open for writing; opened, it is created but not emptied: another process may be filling it."""
        if name not in self._files:
            os.makedirs(self.path, exist_ok=True)
            self._files[name] = open(  # noqa: SIM115
                self._array_path(name), "r+b", opener=lambda path, flags: os.open(path, flags | os.O_CREAT, 0o666)
            )
        return self._files[name]

    def save(self) -> None:
        """Flushes the appended features to disk, so that a kill does not lose them.

        Raises:
            FailedError: the disk is full or not writable.
        """
        if self.rows == 0 or self._features is not None:
            return
        progress = {"rows": self.rows, "widths": self._widths, "crc32": self._checksums, "content": self._content}
        try:
            for file in self._files.values():
                os.fsync(file.fileno())
            write_atomically(self._progress_path, (json.dumps(progress, indent=1) + "\n").encode())
        except (OSError, tf.errors.OpError) as error:
            raise self._failed(error) from error
        self._saved_at = time.monotonic()

    def _failed(self, error: Exception) -> FailedError:
        return FailedError(f"cannot write features into {self.path}: {reason_of(error)}")

    def features(self) -> Features:
        """Returns all features as memory-mapped arrays."""
        if not self.is_complete:
            raise ValueError(f"{self.path} has {self.rows} of {self.count}")
        if self._features is None:
            arrays = {
                name: np.memmap(self._files[name], kind, "r", shape=(self.count, self._widths[name]))
                for name, kind in ARRAYS.items()
            }
            self._features = Features(arrays["logits"], arrays["pool_3"], np.asarray(arrays["labels"][:, 0]))
            self._close()
        return self._features

    def delete(self) -> None:
        """Deletes the store. Features that it returned stay readable."""
        self._close()
        shutil.rmtree(self.path, ignore_errors=True)

    def _close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files = {}

    def _array_path(self, name: str) -> str:
        return os.path.join(self.path, f"{name}.{np.dtype(ARRAYS[name]).name}")


def _checksum(file: BinaryIO, size: int) -> int | None:
    """The CRC-32 of a file's first bytes; None if it has fewer."""
    checksum = 0
    while size > 0:
        block = file.read(min(size, _BLOCK_BYTES))
        if not block:
            return None
        checksum = zlib.crc32(block, checksum)
        size -= len(block)
    return checksum
