"""Block-wise access to arrays in memory or on disk, in blocks of rows that fit in memory as float64."""

from collections.abc import Iterator

import numpy as np

BLOCK_ROWS = 4096
"""Rows per block. A block of width 2,048 takes 64 MiB in float64."""


def all_finite(array: np.ndarray) -> bool:
    """Whether all elements of an array of shape ``(rows, ...)`` are finite."""
    return all(bool(np.isfinite(array[block]).all()) for block in row_blocks(len(array)))


def row_blocks(count: int) -> Iterator[slice]:
    """Yields slices that divide ``count`` rows into blocks of at most ``BLOCK_ROWS``."""
    for first in range(0, count, BLOCK_ROWS):
        yield slice(first, min(first + BLOCK_ROWS, count))


def check_matrix(name: str, array: np.ndarray) -> None:
    """Raises ValueError if an array is not a matrix."""
    if np.ndim(array) != 2:
        raise ValueError(f"{name}: expected an array of shape (rows, columns), received shape {np.shape(array)}")
