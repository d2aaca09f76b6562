"""A folder of samples, one PNG file for each, which an interrupted command resumes."""

import contextlib
import fcntl
import json
import logging
import os
import re
import types
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from hamgan.errors import UserError, reason_of
from hamgan.files import TEMPORARY_SUFFIX, check_remote, check_writable, read_json, write_atomically
from hamgan.sampling.class_folders import class_folders

_logger = logging.getLogger(__name__)
gfile = tf.io.gfile

RECORD_NAME = "samples.json"
"""File that describes a folder of samples."""
_SHORTEST_NUMBER = 6
_PICTURE = re.compile(r"([0-9]+)\.png")
_INFORMATION = {"run", "step"}
"""Entries of the record that do not change the samples: where the checkpoint lay."""
_SETTINGS = ("weights", "num", "seed", "truncation", "batch_norm", "batch")
"""Entries of the record that differences show; the others are digests and lists."""
_TEMPORARY = re.compile(rf".+\.[0-9a-f]{{32}}{re.escape(TEMPORARY_SUFFIX)}")


class SampleFolder(contextlib.AbstractContextManager["SampleFolder"]):
    """Writes samples to ``CLASS/000123.png``, where the number is the index of the sample.

    Pictures appear when they are complete, so that a kill at any moment leaves no damaged one. ``samples.json`` records
    the settings. Enter the context before use: it keeps other processes from writing the same local folder.

    Args:
        path: path of the folder, local or ``gs://``. A missing one is created.
        labels: label of each sample.
        class_names: name of each class.
        record: settings that the samples depend on, as JSON values. "run" and "step" are recorded only.

    Attributes:
        is_written: whether each sample exists, bool, shape ``(n,)``.

    Raises:
        UserError: on entry, if the folder cannot be written, holds something else or samples with other settings, or is
            being written by another process.
    """

    def __init__(self, path: str, *, labels: np.ndarray, class_names: Sequence[str], record: dict[str, Any]) -> None:
        check_remote(path)
        self.path = path
        self.labels = labels
        self.is_written = np.zeros(len(labels), bool)
        self._folders = class_folders(class_names, reserved=[RECORD_NAME])
        self._used = np.unique(labels).tolist()
        classes = [{"label": label, "name": class_names[label], "folder": self._folders[label]} for label in self._used]
        self._record = {**record, "classes": classes}
        self._lock: int | None = None

    def __enter__(self) -> "SampleFolder":
        try:
            with self._writing():
                self._create()
                self._acquire_lock()
                self._check_record()
                self._find_written()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: types.TracebackType | None
    ) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def write(self, first: int, images: np.ndarray) -> None:
        """Writes the pictures that are missing.

        Args:
            first: index of the first sample.
            images: uint8 samples of shape ``(n, height, width, channels)``.

        Raises:
            UserError: if a picture cannot be written.
        """
        with self._writing():
            for index, image in enumerate(images, start=first):
                if not self.is_written[index]:
                    write_atomically(self.path_of(index), tf.io.encode_png(image).numpy())
                    self.is_written[index] = True

    def path_of(self, index: int) -> str:
        """Returns the path of a sample."""
        return os.path.join(self.path, self._folders[self.labels[index]], self._name(index))

    def _name(self, index: int) -> str:
        return f"{index:0{_SHORTEST_NUMBER}d}.png"

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, tf.errors.OpError) as error:
            raise UserError(f"cannot write samples to {self.path}: {reason_of(error)}") from error

    def _create(self) -> None:
        if gfile.exists(self.path) and not gfile.isdir(self.path):
            raise UserError(f"expected a folder, found the file {self.path}; choose another name")
        check_writable(self.path)
        gfile.makedirs(self.path)

    def _acquire_lock(self) -> None:
        if "://" in self.path:
            return
        self._lock = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another process writes samples to {self.path}; wait until it ends, or stop it") from None
        except OSError as error:
            _logger.warning("Cannot lock %s (%s): do not start a second command on it", self.path, reason_of(error))

    def _check_record(self) -> None:
        path = os.path.join(self.path, RECORD_NAME)
        if gfile.exists(path):
            self._compare(read_json(path))
            return
        if not all(_TEMPORARY.fullmatch(name) for name in gfile.listdir(self.path)):
            raise UserError(
                f"expected a new folder or one with samples, found {self.path} without {RECORD_NAME}; choose another "
                "name"
            )
        write_atomically(path, (json.dumps(self._record, indent=1) + "\n").encode())

    def _compare(self, found: Any) -> None:
        if not isinstance(found, dict):
            raise UserError(f"{os.path.join(self.path, RECORD_NAME)} is damaged; expected an object, delete the folder")
        for name, value in json.loads(json.dumps(self._record)).items():
            if name not in _INFORMATION and found.get(name) != value:
                raise UserError(
                    f"{self.path} holds other samples: {_difference(name, found, self._record)}; choose the same "
                    "settings, or another folder"
                )

    def _find_written(self) -> None:
        """Finds the samples that exist, and deletes what an interrupted write left."""
        self._delete_temporary(self.path)
        for label in self._used:
            folder = os.path.join(self.path, self._folders[label])
            if not gfile.exists(folder):
                continue
            self._delete_temporary(folder)
            for name in gfile.listdir(folder):
                match = _PICTURE.fullmatch(name)
                index = int(match[1]) if match else len(self.labels)
                if index < len(self.labels) and self.labels[index] == label and name == self._name(index):
                    self.is_written[index] = True

    def _delete_temporary(self, folder: str) -> None:
        for name in gfile.listdir(folder):
            if _TEMPORARY.fullmatch(name):
                gfile.remove(os.path.join(folder, name))


def _difference(name: str, expected: dict[str, Any], found: dict[str, Any]) -> str:
    if name == "checkpoint":
        of_expected, of_found = (f"step {record.get('step')} of {record.get('run')}" for record in (expected, found))
        return f"expected the checkpoint of {of_expected}, found that of {of_found}"
    if name in _SETTINGS:
        return f"expected {name}={expected.get(name)}, found {name}={found[name]}"
    return f"expected the same {name}, found others"
