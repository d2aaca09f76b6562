"""Base class of the formats of exported generators."""

import abc
from collections.abc import Callable
from typing import ClassVar

import numpy as np
import tensorflow as tf

from hamgan.networks import Generator
from hamgan.sampling.export.file_format import FileFormat

GenerateFunction = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Maps z, float32 ``(batch, z_dim)``, and labels, int32 ``(batch,)``, to float32 images in [-1, 1]."""


class ModelFormat(FileFormat):
    """A format of exported generators.

    Attributes:
        takes_random_bases: whether the format can draw random bases.
    """

    takes_random_bases: ClassVar[bool] = True

    @abc.abstractmethod
    def write(self, generator: Generator, path: str) -> None:
        """Writes a generator to a local path."""

    @abc.abstractmethod
    def load(self, path: str, generator: Generator) -> GenerateFunction:
        """Loads an exported generator for verification.

        Args:
            path: path that :meth:`write` wrote.
            generator: the generator that was written. If it draws random bases, the first call of the result draws
                those that the generator draws next.
        """

    def verify_more(self, loaded: GenerateFunction, generator: Generator) -> None:
        """Verifies what the format has beyond a function of z and labels.

        Args:
            loaded: result of :meth:`load`.
            generator: the generator that was written.

        Raises:
            FailedError: if it differs from the generator.
        """
        del loaded, generator

    @abc.abstractmethod
    def usage(self, generator: Generator) -> str:
        """Returns Python code that runs in the exported folder and generates ``images``."""


def generate_signature(generator: Generator) -> list[tf.TensorSpec]:
    """Returns shape, dtype and name of z and the labels."""
    return [tf.TensorSpec(spec.shape, spec.dtype, spec.name) for spec in generator.input_signature()]


def draw_inputs_code(generator: Generator) -> str:
    """Returns Python code that draws ``z`` and ``labels`` with NumPy, for :meth:`ModelFormat.usage`."""
    return (
        f"z = np.random.default_rng(0).standard_normal((4, {generator.z_dim}), dtype=np.float32)\n"
        f"labels = np.array({some_labels(generator)}, np.int32)\n"
    )


def some_labels(generator: Generator) -> list[int]:
    """Returns the labels of the code's four images."""
    return [index % generator.num_classes for index in range(4)]


def images_comment(generator: Generator, dtype: str = "float32 in [-1, 1]") -> str:
    """Returns a comment with dtype and shape of the generated images."""
    shape = (4, generator.resolution, generator.resolution, generator.channels)
    return f"# {dtype}, {shape}"
