"""Base class of the formats of exported segmentation networks."""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hamgan.sampling.export.file_format import FileFormat

LogitsFunction = Callable[[np.ndarray], np.ndarray]
"""Maps normalised images, float32 ``(1, height, width, 3)``, to logits, float32 ``(1, height, width, classes)``."""


@dataclasses.dataclass(frozen=True)
class ExportedNetwork:
    """A network to export.

    Args:
        model: network with fixed bases, in float32.
        height: height of the images of formats with a fixed size, in pixels.
        width: their width.
    """

    model: keras.Model
    height: int
    width: int

    @property
    def size_signature(self) -> tf.TensorSpec:
        """Shape, dtype and name of one normalised image of fixed size."""
        return tf.TensorSpec((1, self.height, self.width, self.model.channels), tf.float32, "images")


class NetworkFormat(FileFormat):
    """A format of exported segmentation networks."""

    @abc.abstractmethod
    def write(self, network: ExportedNetwork, path: str) -> None:
        """Writes a network to a local path."""

    @abc.abstractmethod
    def load(self, path: str) -> LogitsFunction:
        """Loads an exported network, as a function from normalised images to logits."""

    def verify_more(self, path: str, network: ExportedNetwork, images: np.ndarray, tolerance: float) -> None:
        """Verifies what the format has beyond the function from normalised images to logits.

        Args:
            path: path that :meth:`write` wrote.
            network: network that was written.
            images: uint8 images, shape ``(batch, height, width, 3)``.
            tolerance: largest difference of logits, relative to the largest logit if that is above 1.

        Raises:
            FailedError: if it differs from the network.
        """
        del path, network, images, tolerance

    @abc.abstractmethod
    def usage(self, network: ExportedNetwork) -> str:
        """Returns Python code that runs in the exported folder and computes ``masks`` of a picture ``image``."""


NORMALISE = """mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
images = ((np.asarray(picture)[np.newaxis] / 255 - mean) / deviation).astype(np.float32)
"""
"""Python code that normalises an RGB ``picture`` of PIL."""


def resized_picture(network: ExportedNetwork) -> str:
    """Returns Python code that reads a picture at the fixed size."""
    return f'picture = Image.open("picture.jpg").convert("RGB").resize(({network.width}, {network.height}))\n'


def as_array(tensor: Any) -> np.ndarray:
    """Returns a tensor as an array."""
    return np.asarray(tensor, np.float32)
