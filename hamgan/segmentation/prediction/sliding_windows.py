"""Logits of images that are too large to process whole, as the mean over overlapping windows."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

Network = Callable[[tf.Tensor], tf.Tensor]


class Band(NamedTuple):
    """Logits of neighbouring rows of pixels.

    Args:
        top: first row.
        logits: mean logits, float32, shape ``(batch, rows, width, num_classes)``.
    """

    top: int
    logits: np.ndarray


def sliding_window_logits(network: Network, images: tf.Tensor, *, window: int, step: int) -> np.ndarray:
    """Returns the mean of the logits of overlapping windows.

    The last window of each row and column ends at the border. An image smaller than a window is one window. Memory
    beyond that of one row of windows is that of the result, in main memory; :func:`sliding_window_bands` needs less.

    Args:
        network: function from images to logits of the same size, such as
            :func:`hamgan.segmentation.prediction.multi_scale.single_scale_logits` of one.
        images: images, shape ``(batch, height, width, channels)``; needs eager execution.
        window: height and width of a window, in pixels.
        step: distance between windows, in pixels, at most ``window``.

    Returns:
        Mean logits, float32, shape ``(batch, height, width, num_classes)``.

    Raises:
        ValueError: the windows would not cover the image.
    """
    result = None
    for band in sliding_window_bands(network, images, window=window, step=step):
        batch, rows, width, num_classes = band.logits.shape
        if result is None:
            result = np.empty((batch, images.shape[1], width, num_classes), np.float32)
        result[:, band.top : band.top + rows] = band.logits
    assert result is not None
    return result


def sliding_window_bands(network: Network, images: tf.Tensor, *, window: int, step: int) -> Iterator[Band]:
    """Yields the logits of :func:`sliding_window_logits` from top to bottom, as soon as they are complete.

    Main memory holds the logits of one row of windows.

    Args:
        network, images, window, step: as for :func:`sliding_window_logits`.

    Raises:
        ValueError: the windows would not cover the image.
    """
    if not 0 < step <= window:
        raise ValueError(f"step must be from 1 to the window, received {step} and {window}")
    _, height, width, _ = images.shape
    total, count = None, np.zeros((0, width, 1), np.float32)
    first = 0  # Row of the image that is the first of `total`.
    for top in _starts(height, window, step):
        bottom = min(top + window, height)
        if total is not None:
            done = top - first
            if done:
                yield Band(first, total[:, :done] / count[:done])
            total = _moved_down(total, done, bottom - top, axis=1)
        count = _moved_down(count, top - first, bottom - top, axis=0)
        first = top
        for left in _starts(width, window, step):
            columns = slice(left, min(left + window, width))
            logits = np.asarray(network(images[:, top:bottom, columns]), np.float32)
            if total is None:
                total = np.zeros((len(logits), bottom - top, width, logits.shape[-1]), np.float32)
            total[:, :, columns] += logits
            count[:, columns] += 1
    assert total is not None
    yield Band(first, total / count)


def _moved_down(array: np.ndarray, rows: int, size: int, axis: int) -> np.ndarray:
    """Returns an array without its first rows, and with as many rows of zeros at its end as make up a size."""
    rest = np.take(array, range(min(rows, array.shape[axis]), array.shape[axis]), axis)
    padding = [(0, 0)] * array.ndim
    padding[axis] = (0, size - rest.shape[axis])
    return np.pad(rest, padding)


def _starts(size: int, window: int, step: int) -> list[int]:
    """Returns the first pixel of each window along one side."""
    last = max(size - window, 0)
    return [*range(0, last, step), last]
