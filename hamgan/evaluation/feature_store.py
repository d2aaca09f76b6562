"""A classifier's features on disk: written batch by batch, gone on with after a kill, read without being loaded."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from hamgan.errors import FailedError, UserError, reason_of
from hamgan.run_directory import write_atomically

DEFAULT_FOLDER = os.path.join("~", ".cache", "hamgan", "features")
SAVE_SECONDS = 5.0
ARRAYS = {"logits": np.float32, "pool_3": np.float32, "labels": np.int32}


class Features(NamedTuple):
    """What a classifier says of n images: ``logits`` (n, classes), ``pool_3`` (n, width) and ``labels`` (n,)."""

    logits: np.ndarray
    pool_3: np.ndarray
    labels: np.ndarray

    def rows(self, first: int, last: int) -> "Features":
        """Returns the features of images ``first`` to ``last - 1``."""
        return Features(*(array[first:last] for array in self))


class FeatureStore:
    """The features of ``count`` images in a folder of their own; what they are of names it.

    Args:
        folder: local folder of all stores.
        content: everything that the features depend on, for JSON.
        count: of images.

    Raises:
        UserError: the folder is not local, or cannot be written.
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
        self._widths: dict[str, int] = {}
        self.rows = 0
        """How many are there."""
        try:
            os.makedirs(self.path, exist_ok=True)
            self._read_progress()
        except OSError as error:
            raise UserError(f"cannot write features into {folder}: {reason_of(error)}; pass --cache_dir") from error
        self._saved_at = time.monotonic()

    def _read_progress(self) -> None:
        try:
            with open(self._progress_path) as file:
                progress = json.load(file)
            rows, widths = int(progress["rows"]), dict(progress["widths"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return
        sizes = {name: rows * widths[name] * np.dtype(kind).itemsize for name, kind in ARRAYS.items() if name in widths}
        is_whole = all(
            os.path.exists(self._array_path(name)) and os.path.getsize(self._array_path(name)) >= size
            for name, size in sizes.items()
        )
        if is_whole and sizes.keys() == ARRAYS.keys():
            self.rows, self._widths = rows, widths

    @property
    def is_complete(self) -> bool:
        """Whether all are there."""
        return self.rows == self.count

    def append(self, logits: np.ndarray, pool_3: np.ndarray, labels: np.ndarray) -> None:
        """Adds the next images' features.

        Raises:
            FailedError: the disk is full, or refuses.
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
                path = self._array_path(name)
                with open(path, "r+b" if os.path.exists(path) else "w+b") as file:
                    file.seek(self.rows * widths[name] * kind.itemsize)
                    file.write(np.ascontiguousarray(array, kind).tobytes())
            self.rows += len(labels)
            if self.is_complete or time.monotonic() - self._saved_at > SAVE_SECONDS:
                self.save()
        except OSError as error:
            raise FailedError(f"cannot write features into {self.path}: {reason_of(error)}") from error

    def save(self) -> None:
        """Puts on disk what was appended: after a kill, it need not be made again."""
        if self.rows == 0:
            return
        for name in ARRAYS:
            with open(self._array_path(name), "r+b") as file:
                os.fsync(file.fileno())
        progress = {"rows": self.rows, "widths": self._widths, "content": self._content}
        write_atomically(self._progress_path, (json.dumps(progress, indent=1) + "\n").encode())
        self._saved_at = time.monotonic()

    def features(self) -> Features:
        """Returns all features, read from disk as they are used."""
        if not self.is_complete:
            raise ValueError(f"{self.path} has {self.rows} of {self.count}")
        arrays = {
            name: np.memmap(self._array_path(name), kind, "r", shape=(self.count, self._widths[name]))
            for name, kind in ARRAYS.items()
        }
        return Features(arrays["logits"], arrays["pool_3"], np.asarray(arrays["labels"][:, 0]))

    def delete(self) -> None:
        """Deletes it from disk."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _array_path(self, name: str) -> str:
        return os.path.join(self.path, f"{name}.{np.dtype(ARRAYS[name]).name}")
