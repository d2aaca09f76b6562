"""Sequences of layers, and layers inside others."""

from collections.abc import Iterable
from typing import Any

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


def unbuilt_layer(config: Any, custom_objects: Any = None) -> Any:
    """Creates a layer from its serialised form, without its weights.

    The layer that contains it builds it. Otherwise, it would have another path, on which bases depend.

    Args:
        config: serialised layer; anything else is returned as it is.
        custom_objects: classes by name.
    """
    if not isinstance(config, dict):
        return config
    without_build = {name: value for name, value in config.items() if name != "build_config"}
    return keras.saving.deserialize_keras_object(without_build, custom_objects=custom_objects)
