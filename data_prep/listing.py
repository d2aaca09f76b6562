"""Images found in a source: where each one is, its size and its label, known before any image is written."""

from typing import NamedTuple

import numpy as np

from data_prep.problems import Problem

IN_FOLDER = -1
"""Offset of an image that is a file of its own."""
_SYSTEM_FILES = ("thumbs.db", "desktop.ini", "__macosx")


class Listing(NamedTuple):
    """Images found in containers.

    Args:
        images: structured array, shape ``(n,)``. Each collection has its own dtype, with at least these fields: "name",
            the file name as bytes; "label"; "container", index of the tar or folder that holds the image; "offset", its
            position in the tar in bytes, or ``IN_FOLDER``; and "size", its size in bytes.
        containers: paths that the "container" of an image is an index of.
        problems: problems found while listing.
    """

    images: np.ndarray
    containers: tuple[str, ...]
    problems: list[Problem]


def is_system_file(name: str) -> bool:
    """Whether a file or folder is hidden, or one that operating systems create.

    Args:
        name: name without its folder.
    """
    return name.startswith(".") or name.lower() in _SYSTEM_FILES
