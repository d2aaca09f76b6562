"""Sheets: many pictures of one size in one picture, for a web page."""

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from hamgan.sampling.grids import image_grid

QUALITIES = (100, 85, 70, 50, 30)
"""Qualities of WebP to choose from; 100 stands for lossless."""
_LARGEST_SIDE = 16_383
"""Largest height and width of a WebP picture, in pixels."""


def sheet(images: np.ndarray, *, columns: int, quality: int) -> dict[str, Any]:
    """Returns a sheet as JSON values for the page.

    Args:
        images: uint8 images, shape ``(n, resolution, resolution, channels)``.
        columns: number of pictures in a row. The last row is filled with black.
        quality: element of ``QUALITIES``.

    Returns:
        "uri" (a data URI of a WebP picture), "columns", "rows" and "count".

    Raises:
        ValueError: if the sheet is too large for WebP.
    """
    count, resolution = len(images), images.shape[1]
    rows = -(-count // columns)
    if resolution * max(rows, columns) > _LARGEST_SIDE:
        raise ValueError(f"{rows}x{columns} pictures of {resolution} pixels are too many for one sheet")
    black = np.zeros((rows * columns - count, *images.shape[1:]), images.dtype)
    grid = image_grid(np.concatenate([images, black]), columns=columns)
    buffer = io.BytesIO()
    picture = Image.fromarray(grid if grid.shape[-1] == 3 else grid[..., 0]).convert("RGB")
    picture.save(buffer, "WEBP", lossless=quality == QUALITIES[0], quality=quality)
    uri = f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return {"uri": uri, "columns": columns, "rows": rows, "count": count}
