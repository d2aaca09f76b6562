"""Input checks of layers that take images."""

import keras


def image_channels(layer: keras.Layer, input_shape: tuple[int | None, ...]) -> int:
    """Returns the number of channels in an image shape, and sets the layer's ``input_spec`` to match.

    Keras checks the inputs of every call against ``input_spec``.

    Args:
        layer: layer that is being built.
        input_shape: shape ``(batch, height, width, channels)`` with known channels.

    Raises:
        ValueError: if the shape has another rank, or the channels are unknown.
    """
    channels = input_shape[-1]
    if len(input_shape) != 4 or channels is None:
        raise ValueError(
            f"{layer.name} expects (batch, height, width, channels) with channels known, received {input_shape}"
        )
    layer.input_spec = keras.InputSpec(ndim=4, axes={-1: channels})
    return channels
