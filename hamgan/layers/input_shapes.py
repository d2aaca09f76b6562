"""Checks of what a layer is called with: Keras compares it with the layer's ``input_spec`` at every call."""

import keras


def image_channels(layer: keras.Layer, input_shape: tuple[int | None, ...]) -> int:
    """Returns the channels of images that a layer is built for, and has each call checked for them.

    Args:
        layer: the layer that is being built.
        input_shape: expected as ``(batch, height, width, channels)`` with channels known.

    Raises:
        ValueError: it is of another rank, or the channels are unknown.
    """
    channels = input_shape[-1]
    if len(input_shape) != 4 or channels is None:
        raise ValueError(
            f"{layer.name} expects (batch, height, width, channels) with channels known, received {input_shape}"
        )
    layer.input_spec = keras.InputSpec(ndim=4, axes={-1: channels})
    return channels
