"""Division of channels into heads: groups of consecutive channels that attend independently."""

import keras
import tensorflow as tf


def check_heads(layer: keras.Layer, num_heads: int, **channels: int) -> None:
    """Raises ValueError unless ``num_heads`` divides each of the named numbers of channels."""
    for name, value in channels.items():
        if value % num_heads:
            raise ValueError(f"{layer.name} has {num_heads} heads and expects a multiple as {name}, received {value}")


def split_heads(positions: tf.Tensor, num_heads: int) -> tf.Tensor:
    """Reshapes ``(batch, positions, channels)`` to ``(batch, heads, positions, channels / heads)``."""
    shape, channels = tf.shape(positions), positions.shape[-1]
    split = tf.reshape(positions, (shape[0], shape[1], num_heads, channels // num_heads))
    return tf.transpose(split, (0, 2, 1, 3))


def merge_heads(heads: tf.Tensor) -> tf.Tensor:
    """Reshapes ``(batch, heads, positions, channels / heads)`` to ``(batch, positions, channels)``."""
    shape = tf.shape(heads)
    merged = tf.transpose(heads, (0, 2, 1, 3))
    return tf.reshape(merged, (shape[0], shape[2], heads.shape[1] * heads.shape[3]))
