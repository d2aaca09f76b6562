"""Base class of the formats of exported generators."""

import abc
import importlib.util
from collections.abc import Callable
from typing import ClassVar

import numpy as np
import tensorflow as tf

from hamgan.errors import UserError
from hamgan.networks import Generator

GenerateFunction = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Maps z, float32 ``(batch, z_dim)``, and labels, int32 ``(batch,)``, to float32 images in [-1, 1]."""


class ModelFormat(abc.ABC):
    """A format of exported generators.

    Attributes:
        title: name of the format in tables.
        file_name: name of the exported file or folder.
        packages: packages, beyond those of hamgan, that writing and verification import.
        extra: optional dependency of hamgan that installs the packages.
        takes_random_bases: whether the format can draw random bases.
    """

    title: ClassVar[str]
    file_name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = ""
    takes_random_bases: ClassVar[bool] = True

    def check_packages(self) -> None:
        """Checks that the packages are installed.

        Raises:
            UserError: if one is missing; the message names the extra.
        """
        missing = [name for name in self.packages if importlib.util.find_spec(name) is None]
        if missing:
            raise UserError(
                f"{self.title} needs the packages {', '.join(self.packages)}, found no {', '.join(missing)}; "
                f"pip install 'hamgan[{self.extra}]'"
            )

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
