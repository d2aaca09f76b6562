"""Arrays that may lie on disk, read in blocks of rows that fit in memory as float64."""

from collections.abc import Iterator

import numpy as np

_BLOCK_ROWS = 4096
"""A block of width 2,048 takes 64 MiB in float64."""


def all_finite(array: np.ndarray) -> bool:
    """Whether all elements of an array, ``(rows, ...)``, are finite numbers."""
    return all(bool(np.isfinite(array[block]).all()) for block in row_blocks(len(array)))


def row_blocks(count: int) -> Iterator[slice]:
    """Yields slices of rows that are small enough to be held in float64."""
    for first in range(0, count, _BLOCK_ROWS):
        yield slice(first, min(first + _BLOCK_ROWS, count))


def check_matrix(name: str, array: np.ndarray) -> None:
    """Raises ValueError if an array is no matrix."""
    if np.ndim(array) != 2:
        raise ValueError(f"{name} of shape (rows, columns) are expected, received the shape {np.shape(array)}")
