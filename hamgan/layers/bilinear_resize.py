"""Bilinear interpolation as two matrix products, exact in every dtype and on every device.

TensorFlow's resize operation has no float64 gradient, and XLA 2.21 compiles its half-pixel form to wrong values.
"""

import tensorflow as tf

from hamgan.layers.precision import accumulation_dtype


def bilinear_resize(
    images: tf.Tensor, size: tuple[int | tf.Tensor, int | tf.Tensor], *, align_corners: bool
) -> tf.Tensor:
    """Resizes images by bilinear interpolation, without antialiasing.

    Row i of n takes the value at row ``i (m - 1) / (n - 1)`` of the m source rows if corners are aligned, otherwise at
    ``(i + 0.5) m / n - 0.5``, limited to [0, m - 1]; likewise for columns. Half precision is interpolated in float32.

    Args:
        images: float tensor of shape ``(batch, height, width, channels)`` with known channels.
        size: new height and width.
        align_corners: whether corner pixels map to corner pixels. If False, pixels have half-pixel centres.

    Returns:
        Tensor of shape ``(batch, *size, channels)``, with the dtype of the images.

    Cost: C (H h w + H W w) multiply-adds per image, for C channels and a size of h x w that becomes H x W.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.layers import bilinear_resize
        >>> bilinear_resize(tf.zeros((2, 9, 7, 21)), (65, 49), align_corners=True).shape
        TensorShape([2, 65, 49, 21])
    """
    if tuple(images.shape[1:3]) == tuple(size):
        return images
    dtype = accumulation_dtype(images.dtype)
    shape = tf.shape(images)
    rows, columns = (
        interpolation_matrix(new, source, dtype, align_corners=align_corners)
        for new, source in ((size[0], shape[1]), (size[1], shape[2]))
    )
    return tf.cast(resample(tf.cast(images, dtype), rows, columns), images.dtype)


def interpolation_matrix(
    size: int | tf.Tensor, cells: int | tf.Tensor, dtype: tf.DType, *, align_corners: bool
) -> tf.Tensor:
    """Returns the weights of ``cells`` values in the linear interpolation at ``size`` positions.

    Args:
        size: number of positions.
        cells: number of values.
        dtype: dtype of the weights.
        align_corners: see :func:`bilinear_resize`.

    Returns:
        Tensor of shape ``(size, cells)``.
    """
    index, last = tf.range(size), tf.cast(cells - 1, dtype)
    if align_corners:
        # The product is an exact integer, so that the positions of an integral scale are exact.
        position = tf.cast(index * (cells - 1), dtype) / tf.cast(tf.maximum(size - 1, 1), dtype)
    else:
        position = (tf.cast(index, dtype) + 0.5) * tf.cast(cells, dtype) / tf.cast(size, dtype) - 0.5
    # Linear between cells and constant outside their centres, as clamped neighbours are.
    position = tf.clip_by_value(position, 0, last)[:, tf.newaxis]
    return tf.nn.relu(1 - tf.abs(position - tf.cast(tf.range(cells), dtype)[tf.newaxis]))


def resample(images: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Multiplies the rows and columns of images by matrices.

    Args:
        images: tensor of shape ``(batch, height, width, channels)`` with known channels.
        rows: tensor of shape ``(new_height, height)``.
        columns: tensor of shape ``(new_width, width)``.

    Returns:
        Tensor of shape ``(batch, new_height, new_width, channels)``.
    """
    shape, channels = tf.shape(images), images.shape[-1]
    by_row = tf.reshape(images, (shape[0], shape[1], shape[2] * channels))
    outputs = tf.reshape(tf.matmul(rows, by_row), (shape[0], tf.shape(rows)[0], shape[2], channels))
    return tf.matmul(columns, outputs)
