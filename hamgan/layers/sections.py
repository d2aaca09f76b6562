"""Application of a ham to sections of the channels of images."""

from typing import Any

import tensorflow as tf

from hamgan.layers.matrix_decomposition import MatrixDecomposition


def decompose_sections(
    ham: MatrixDecomposition, images: tf.Tensor, num_sections: int, *, by_channel: bool = False, **arguments: Any
) -> tf.Tensor:
    """Applies a ham to each section of images.

    Channel c belongs to section ``c // (channels / num_sections)``. In the spatial form, the ham approximates the
    vectors of a section at each position, N = height * width positions in D dimensions. In the channel form, it
    approximates the maps of each channel: N channels in D = height * width dimensions.

    Args:
        ham: matrix decomposition.
        images: tensor of shape ``(batch, height, width, channels)``.
        num_sections: number of sections S.
        by_channel: whether to use the channel form.
        arguments: further arguments of the ham.

    Returns:
        Tensor with the shape of the images.
    """
    shape, channels = tf.shape(images), images.shape[-1]
    batch, positions = shape[0], shape[1] * shape[2]
    if num_sections == 1 and not by_channel:
        matrices = tf.reshape(images, (batch, positions, channels))
        return tf.reshape(ham(matrices, **arguments), (batch, shape[1], shape[2], channels))
    dim = channels // num_sections
    order, inverse = ((0, 2, 3, 1), (0, 3, 1, 2)) if by_channel else ((0, 2, 1, 3), (0, 2, 1, 3))
    lengths = (dim, positions) if by_channel else (positions, dim)
    split = tf.transpose(tf.reshape(images, (batch, positions, num_sections, dim)), order)
    matrices = ham(tf.reshape(split, (batch * num_sections, *lengths)), **arguments)
    joined = tf.transpose(tf.reshape(matrices, (batch, num_sections, *lengths)), inverse)
    return tf.reshape(joined, (batch, shape[1], shape[2], channels))
