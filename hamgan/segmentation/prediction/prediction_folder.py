"""A folder of predictions, which an interrupted command resumes: masks, overlays and pairs of pictures."""

import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from hamgan.errors import UserError, did_you_mean, reason_of
from hamgan.files import check_remote, check_writable, read_json, write_atomically
from hamgan.sampling.picture_file import write_picture
from hamgan.segmentation.data.palette import overlay, side_by_side, write_mask
from hamgan.segmentation.prediction.picture_files import PictureFile

RECORD_NAME = "predictions.json"
"""File that describes a folder of predictions."""

ENDINGS = {"masks": ".png", "overlays": ".jpg", "pairs": ".jpg"}
"""Kinds of results, each in a folder of its own, and the endings of their files.

Masks are index PNG files with VOC's palette, overlays are pictures colored by the classes, and pairs show the picture
beside its overlay.
"""
DEFAULT_KINDS = ("masks", "overlays")
_SKIPPED = "skipped"
_LONGEST = 80
"""Most characters of a value in an error message."""


class PredictionFolder:
    """Writes ``masks/NAME.png``, ``overlays/NAME.jpg`` and ``pairs/NAME.jpg``.

    Files appear when they are complete. ``predictions.json`` records the settings.

    Args:
        path: path of the folder, local or ``gs://``.
        kinds: kinds of results, see ``ENDINGS``.
        record: settings that predictions depend on, as JSON values.

    Raises:
        UserError: a kind is unknown, the folder cannot be written, or it holds something else or predictions with other
            settings.
    """

    def __init__(self, path: str, *, kinds: Sequence[str], record: dict[str, Any]) -> None:
        self.path = path
        self.kinds = checked_kinds(kinds)
        self._record_path = os.path.join(path, RECORD_NAME)
        self._record: dict[str, Any] = json.loads(json.dumps(record))
        check_remote(path)
        try:
            if tf.io.gfile.exists(path) and not tf.io.gfile.isdir(path):
                raise UserError(f"expected a folder, found the file {path}; choose another name")
            check_writable(path)
            self._check_record()
        except (OSError, tf.errors.OpError) as error:
            raise UserError(f"cannot write predictions to {path}: {reason_of(error)}") from error

    def _check_record(self) -> None:
        if tf.io.gfile.exists(self._record_path):
            found = read_json(self._record_path)
            if not isinstance(found, dict):
                raise UserError(f"{self._record_path} is damaged (expected an object); delete the folder")
            for name, value in self._record.items():
                if found.get(name) != value:
                    raise UserError(
                        f"{self.path} holds predictions with other settings: expected {name} "
                        f"{_different(value, found.get(name))}, found {_different(found.get(name), value)}; choose the "
                        "same settings, or another folder"
                    )
            return
        if tf.io.gfile.exists(self.path) and tf.io.gfile.listdir(self.path):
            raise UserError(
                f"expected a new folder or one with predictions, found {self.path} without {RECORD_NAME}; choose "
                "another name"
            )
        self._write_record()

    def write_skipped(self, skipped: dict[str, str]) -> None:
        """Records the reasons why pictures have no prediction, by path."""
        self._record[_SKIPPED] = skipped
        self._write_record()

    def _write_record(self) -> None:
        write_atomically(self._record_path, (json.dumps(self._record, indent=1) + "\n").encode())

    def path_of(self, kind: str, name: str) -> str:
        """Returns the path of a result.

        Args:
            kind: kind of the result.
            name: name from :class:`hamgan.segmentation.prediction.picture_files.PictureFile`.
        """
        return os.path.join(self.path, kind, f"{name}{ENDINGS[kind]}")

    def is_complete(self, picture: PictureFile) -> bool:
        """Whether all results of a picture exist and are not older than it."""
        try:
            changed = _changed_at(picture.path)
            return all(_changed_at(self.path_of(kind, picture.name)) >= changed for kind in self.kinds)
        except (FileNotFoundError, tf.errors.NotFoundError):
            return False

    def write(self, name: str, image: np.ndarray, mask: np.ndarray) -> None:
        """Writes the results of a picture.

        Args:
            name: name of the results.
            image: uint8, shape ``(height, width, 3)``.
            mask: classes, uint8, shape ``(height, width)``.

        Raises:
            UserError: a file cannot be written.
        """
        try:
            if "masks" in self.kinds:
                write_mask(self.path_of("masks", name), mask)
            colored = overlay(image, mask) if {"overlays", "pairs"} & set(self.kinds) else image
            if "overlays" in self.kinds:
                write_picture(self.path_of("overlays", name), colored)
            if "pairs" in self.kinds:
                write_picture(self.path_of("pairs", name), side_by_side(image, colored))
        except (OSError, tf.errors.OpError) as error:
            raise UserError(
                f"cannot write predictions to {self.path}: {reason_of(error)}; free space or fix permissions, then run "
                "the same command again"
            ) from error


def _changed_at(path: str) -> int:
    """Returns when a file was changed, in nanoseconds."""
    # TensorFlow rounds the times of local files to seconds.
    return tf.io.gfile.stat(path).mtime_nsec if "://" in path else os.stat(path).st_mtime_ns


def checked_kinds(kinds: Sequence[str]) -> tuple[str, ...]:
    """Returns kinds of results without repetitions.

    Raises:
        UserError: there are none, or one is unknown.
    """
    unknown = [kind for kind in kinds if kind not in ENDINGS]
    if unknown or not kinds:
        found = f"'{unknown[0]}'{did_you_mean(unknown[0], ENDINGS)}" if unknown else "none"
        raise UserError(f"kinds of results are {', '.join(ENDINGS)}, found {found}")
    return tuple(dict.fromkeys(kinds))


def _different(value: Any, other: Any) -> str:
    """Returns a value as text; of an object, the entries that differ from another one's."""
    if isinstance(value, dict) and isinstance(other, dict):
        names = [name for name in {**value, **other} if value.get(name) != other.get(name)]
        return ", ".join(f"{name}={value.get(name)}" for name in names)
    text = json.dumps(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
