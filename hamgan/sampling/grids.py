"""Grids of images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

__all__ = ["image_grid"]

_SMALLEST_FONT = 12
_LINES_PER_ROW = 6
_LONGEST_NAME = 24
_HEADER_LINES = 1.6
_WHITE = 255


def to_uint8(images: np.ndarray) -> np.ndarray:
    """Returns images in [-1, 1] as uint8, rounded to the nearest value; uint8 images are returned as they are."""
    if images.dtype == np.uint8:
        return images
    return np.clip(np.round((images + 1.0) * 127.5), 0, 255).astype(np.uint8)


def enlarged(images: np.ndarray, smallest: int) -> np.ndarray:
    """Repeats pixels, by the least whole factor that makes images at least ``smallest`` pixels high and wide.

    Args:
        images: images, shape ``(n, height, width, channels)``.
        smallest: smallest height and width of the result, in pixels.
    """
    factor = max(1, -(-smallest // min(images.shape[1:3])))
    return images.repeat(factor, axis=1).repeat(factor, axis=2)


def image_grid(
    images: np.ndarray,
    *,
    columns: int,
    row_names: Sequence[str] | None = None,
    column_names: Sequence[str] | None = None,
) -> np.ndarray:
    """Arranges images in a grid, row by row.

    Args:
        images: uint8 array, or float array in [-1, 1], of shape ``(n, height, width, 3)``, where n is a multiple of
            ``columns``, or ``(n, height, width, 1)`` for gray images.
        columns: number of images per row.
        row_names: text to the left of each row, such as the name of its class; long names are shortened.
        column_names: text above each column, which should be narrower than an image.

    Returns:
        uint8 array of shape ``(header + n / columns * height, margin + columns * width, channels)``. Without row names,
        there is no margin, and without column names no header.

    Example:
        >>> import numpy as np
        >>> from hamgan.sampling.grids import image_grid
        >>> image_grid(np.zeros((6, 32, 32, 3), np.uint8), columns=3).shape
        (64, 96, 3)
    """
    count, height, width, channels = images.shape
    rows = count // columns
    tiles = to_uint8(images).reshape(rows, columns, height, width, channels)
    grid = tiles.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, channels)
    if column_names is not None:
        grid = np.concatenate([_header(column_names, height, width)[..., :channels], grid])
    if row_names is None:
        return grid
    margin = _margin(row_names, height)[..., :channels]
    above = np.full((len(grid) - len(margin), *margin.shape[1:]), _WHITE, np.uint8)
    return np.concatenate([np.concatenate([above, margin]), grid], axis=1)


def _font(height: int) -> Any:
    return ImageFont.load_default(max(_SMALLEST_FONT, height / _LINES_PER_ROW))


def _header(names: Sequence[str], height: int, width: int) -> np.ndarray:
    """Returns a white RGB strip with one name in black, centered, per ``width`` pixels."""
    font = _font(height)
    longest = max(font.getlength(name) for name in names)
    if longest > width:
        font = ImageFont.load_default(font.size * width / longest)
    strip = Image.new("RGB", (width * len(names), int(_HEADER_LINES * font.size)), "white")
    draw = ImageDraw.Draw(strip)
    for column, name in enumerate(names):
        draw.text(((column + 0.5) * width, strip.height / 2), name, fill="black", font=font, anchor="mm")
    return np.asarray(strip)


def _margin(names: Sequence[str], height: int) -> np.ndarray:
    """Returns a white RGB strip with one name in black per ``height`` pixels, as wide as the longest name."""
    font = _font(height)
    shortened = [_on_one_line(name) for name in names]
    padding = int(font.size) // 2
    width = max(int(font.getlength(name)) for name in shortened) + 2 * padding
    strip = Image.new("RGB", (width, height * len(names)), "white")
    draw = ImageDraw.Draw(strip)
    for row, name in enumerate(shortened):
        draw.text((width - padding, (row + 0.5) * height), name, fill="black", font=font, anchor="rm")
    return np.asarray(strip)


def _on_one_line(name: str) -> str:
    name = " ".join(name.split())
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def grid_classes(num_classes: int, rows: int = 10) -> list[int]:
    """Returns at most ``rows`` evenly spaced classes."""
    rows = min(rows, num_classes)
    return [index * num_classes // rows for index in range(rows)]
