"""Grids of images."""

import numpy as np


def to_uint8(images: np.ndarray) -> np.ndarray:
    """Returns images in [-1, 1] as uint8, rounded to the nearest value; uint8 images are returned as they are."""
    if images.dtype == np.uint8:
        return images
    return np.clip(np.round((images + 1.0) * 127.5), 0, 255).astype(np.uint8)


def image_grid(images: np.ndarray, *, columns: int) -> np.ndarray:
    """Arranges images in a grid, row by row.

    Args:
        images: uint8 array, or float array in [-1, 1], of shape ``(n, height, width, 3)``, where n is a multiple of
            ``columns``.
        columns: number of images per row.

    Returns:
        uint8 array of shape ``(n / columns * height, columns * width, 3)``.
    """
    count, height, width, channels = images.shape
    rows = count // columns
    tiles = to_uint8(images).reshape(rows, columns, height, width, channels)
    return tiles.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, channels)


def grid_classes(num_classes: int, rows: int = 10) -> list[int]:
    """Returns at most ``rows`` evenly spaced classes."""
    rows = min(rows, num_classes)
    return [index * num_classes // rows for index in range(rows)]
