"""Files that Pillow can read as images, in a folder."""

import functools
import os

import tensorflow as tf
from PIL import Image

from hamgan.errors import UserError, reason_of

_REFUSED_FORMATS = ("EPS",)
"""Formats that Pillow opens by starting another program."""


def find_image_files(folder: str) -> tuple[list[str], int]:
    """Returns the paths of the images of a folder and its subfolders, and the number of other files.

    Files count by their suffix. Hidden files are ignored.

    Args:
        folder: local or ``gs://`` folder.

    Returns:
        Paths, sorted by relative path, and the number of the other files.

    Raises:
        UserError: the folder cannot be read.
    """
    suffixes = _suffixes()
    images: list[tuple[str, str]] = []
    ignored = 0
    try:
        for parent, _, names in tf.io.gfile.walk(folder):
            for name in names:
                path = os.path.join(parent, name)
                if os.path.splitext(name)[1].lower() in suffixes and not name.startswith("."):
                    images.append((os.path.relpath(path, folder).replace(os.sep, "/"), path))
                else:
                    ignored += 1
    except (OSError, tf.errors.OpError) as error:
        raise UserError(f"cannot read the folder {folder}: {reason_of(error)}") from error
    return [path for _, path in sorted(images)], ignored


@functools.cache
def readable_formats() -> tuple[str, ...]:
    """Returns the formats that Pillow reads without starting another program, by its names."""
    Image.init()
    return tuple(name for name in Image.OPEN if name not in _REFUSED_FORMATS)


@functools.cache
def _suffixes() -> frozenset[str]:
    known = readable_formats()
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in known)
