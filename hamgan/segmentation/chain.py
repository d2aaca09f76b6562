"""Sequences of layers."""

from collections.abc import Iterable

import keras

Shape = tuple[int | None, ...]


def build_chain(layers: Iterable[keras.Layer], shape: Shape) -> Shape:
    """Builds layers that follow each other.

    Args:
        layers: layers with ``compute_output_shape``, in order.
        shape: shape of the first layer's inputs.

    Returns:
        Shape of the last layer's outputs.
    """
    for layer in layers:
        layer.build(shape)
        shape = layer.compute_output_shape(shape)
    return shape
