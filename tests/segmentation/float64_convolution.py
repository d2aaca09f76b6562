"""Convolution in float64 NumPy, with d (k - 1) / 2 zeros on each side."""

import numpy as np


def convolution(x, kernel, stride=1, dilation=1):
    x, kernel = np.asarray(x, np.float64), np.asarray(kernel, np.float64)
    rows, columns = kernel.shape[:2]
    pad_rows, pad_columns = dilation * (rows // 2), dilation * (columns // 2)
    padded = np.pad(x, ((0, 0), (pad_rows,) * 2, (pad_columns,) * 2, (0, 0)))
    height, width = x.shape[1:3]
    total = 0.0
    for row in range(rows):
        for column in range(columns):
            window = padded[:, row * dilation :, column * dilation :][:, :height, :width]
            total = total + window[:, ::stride, ::stride] @ kernel[row, column]
    return total


def max_pool(x):
    """3x3 with stride 2; infinities around the image."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    height, width = x.shape[1:3]
    windows = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return np.max(windows, axis=0)[:, ::2, ::2]
