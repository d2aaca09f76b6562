"""The folder that an export writes: it appears when it is complete."""

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator

import tensorflow as tf

from hamgan.errors import UserError, reason_of
from hamgan.files import TEMPORARY_SUFFIX, check_writable, is_pattern


def check_folder(path: str) -> None:
    """Checks that a folder can be created.

    Raises:
        UserError: if it cannot, or has files.
    """
    if "://" in path or is_pattern(path):
        raise UserError(
            f"--out {path}: expected a local folder without * ? [ or \\ in its name, because TensorFlow cannot load "
            "models from others; choose another folder"
        )
    if os.path.lexists(path) and not (os.path.isdir(path) and not os.listdir(path)):
        raise UserError(f"--out {path}: expected a new or an empty folder, found other files; choose another folder")
    try:
        check_writable(os.path.dirname(os.path.abspath(path)))
    except (OSError, tf.errors.OpError) as error:
        raise UserError(f"--out {path}: cannot create the folder: {reason_of(error)}") from error


@contextlib.contextmanager
def new_folder(path: str) -> Iterator[str]:
    """Yields a temporary folder, which moves to ``path`` at the end and is deleted on an error."""
    path = os.path.abspath(path)
    temporary = f"{path}.{uuid.uuid4().hex}{TEMPORARY_SUFFIX}"
    os.makedirs(temporary)
    try:
        yield temporary
        os.rename(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: str, text: str) -> None:
    """Writes a text file in UTF-8."""
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
