"""Matrix decomposition layers ("hams"): NMF, concept decomposition and vector quantisation."""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from hamgan.architecture import HAM_SETTINGS
from hamgan.layers.matrix_decomposition import MatrixDecomposition
from hamgan.layers.nmf import nmf_and_bases
from hamgan.layers.spherical_k_means import (
    INVERSE_TEMPERATURE,
    RIDGE,
    concept_decomposition_and_bases,
    vector_quantization_and_bases,
)


@keras.saving.register_keras_serializable(package="hamgan")
class NMF(MatrixDecomposition):
    """Approximates each example by non-negative matrix factorisation of rank R; see :func:`hamgan.layers.nmf`.

    Inputs and outputs have shape ``(batch, N, D)``. Random initial bases are uniform in [0, 1).

    Args:
        rectify: whether to apply relu to the inputs; if False, they must be non-negative.
        normalize_bases: whether to L2-normalise the initial bases along D.
        kwargs: arguments of :class:`hamgan.layers.matrix_decomposition.MatrixDecomposition`: ``rank``, ``num_steps``,
            ``evaluation_steps``, ``num_sections``, ``bases``, ``evaluation_bases``, ``bases_momentum``, ``gradient``,
            ``any_latent_dim`` and ``seed``.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Geng et al., Is Attention Better Than Matrix Decomposition? (ICLR 2021), section 2.2.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.layers import NMF
        >>> NMF(rank=4, seed=0)(tf.random.uniform((2, 64, 16))).shape
        TensorShape([2, 64, 16])
    """

    initial_distribution = "uniform"
    settings = HAM_SETTINGS["nmf"]

    def __init__(self, *, rectify: bool = True, normalize_bases: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rectify = rectify
        self.normalize_bases = normalize_bases

    def decompose(
        self, inputs: tf.Tensor, initial_bases: tf.Tensor, *, num_steps: int, can_be_exported: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the approximation and the final bases; see :func:`hamgan.layers.nmf`."""
        return nmf_and_bases(
            inputs,
            initial_bases,
            num_steps=num_steps,
            gradient=self.gradient,
            rectify=self.rectify,
            normalize_bases=self.normalize_bases,
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "rectify": self.rectify, "normalize_bases": self.normalize_bases}


class SphericalKMeans(MatrixDecomposition):
    """Base class of the hams that use soft spherical k-means.

    Random initial bases are standard normal, L2-normalised along D.

    Args:
        inverse_temperature: factor of the scores inside the softmax.
        kwargs: arguments of :class:`hamgan.layers.matrix_decomposition.MatrixDecomposition`.
    """

    initial_distribution = "normal"

    def __init__(self, *, inverse_temperature: float = INVERSE_TEMPERATURE, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not inverse_temperature > 0:
            raise ValueError(f"inverse_temperature must be positive, received {inverse_temperature}")
        self.inverse_temperature = inverse_temperature

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "inverse_temperature": self.inverse_temperature}


@keras.saving.register_keras_serializable(package="hamgan")
class ConceptDecomposition(SphericalKMeans):
    """Approximates each example by concept decomposition; see :func:`hamgan.layers.concept_decomposition`.

    Inputs and outputs have shape ``(batch, N, D)``. With fixed or running bases outside training, the layer solves the
    regression by matrix products instead of a Cholesky factorisation, so that it can be exported.

    Args:
        ridge: weight of the identity in the ridge regression.
        kwargs: ``inverse_temperature``, the factor of the scores inside the softmax (100 by default), and the arguments
            of :class:`hamgan.layers.matrix_decomposition.MatrixDecomposition`, such as ``rank`` and ``num_steps``.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Geng et al., Is Attention Better Than Matrix Decomposition? (ICLR 2021), section 2.2.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.layers import ConceptDecomposition
        >>> ConceptDecomposition(rank=4, seed=0)(tf.random.normal((2, 64, 16))).shape
        TensorShape([2, 64, 16])
    """

    settings = HAM_SETTINGS["cd"]

    def __init__(self, *, ridge: float = RIDGE, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not ridge > 0:
            raise ValueError(f"ridge must be positive, received {ridge}")
        self.ridge = ridge

    def decompose(
        self, inputs: tf.Tensor, initial_bases: tf.Tensor, *, num_steps: int, can_be_exported: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the approximation and the final bases; see :func:`hamgan.layers.concept_decomposition`."""
        return concept_decomposition_and_bases(
            inputs,
            initial_bases,
            num_steps=num_steps,
            gradient=self.gradient,
            inverse_temperature=self.inverse_temperature,
            ridge=self.ridge,
            by_products=can_be_exported,
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "ridge": self.ridge}


@keras.saving.register_keras_serializable(package="hamgan")
class VectorQuantization(SphericalKMeans):
    """Approximates each example by soft vector quantisation; see :func:`hamgan.layers.vector_quantization`.

    Inputs and outputs have shape ``(batch, N, D)``.

    Args:
        inverse_temperature: factor of the scores inside the softmax.
        kwargs: arguments of :class:`hamgan.layers.matrix_decomposition.MatrixDecomposition`, such as ``rank`` and
            ``num_steps``.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Geng et al., Is Attention Better Than Matrix Decomposition? (ICLR 2021), section 2.2.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.layers import VectorQuantization
        >>> VectorQuantization(rank=4, seed=0)(tf.random.normal((2, 64, 16))).shape
        TensorShape([2, 64, 16])
    """

    settings = HAM_SETTINGS["vq"]

    def decompose(
        self, inputs: tf.Tensor, initial_bases: tf.Tensor, *, num_steps: int, can_be_exported: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the approximation and the final bases; see :func:`hamgan.layers.vector_quantization`."""
        return vector_quantization_and_bases(
            inputs,
            initial_bases,
            num_steps=num_steps,
            gradient=self.gradient,
            inverse_temperature=self.inverse_temperature,
        )


HAMS: dict[str, type[MatrixDecomposition]] = {"nmf": NMF, "cd": ConceptDecomposition, "vq": VectorQuantization}
"""The hams by name."""


def make_ham(name: str, settings: Mapping[str, Any], /, **arguments: Any) -> MatrixDecomposition:
    """Creates a ham.

    Args:
        name: name of the ham in :data:`HAMS`.
        settings: settings that only some hams have; None means the ham's default.
        arguments: arguments of :class:`hamgan.layers.matrix_decomposition.MatrixDecomposition`.

    Raises:
        ValueError: if the ham is unknown, a setting does not apply to it, or an argument is out of range.
    """
    if name not in HAMS:
        raise ValueError(f"ham must be one of {tuple(HAMS)}, received {name!r}")
    given = {setting: value for setting, value in settings.items() if value is not None}
    for setting in given:
        if setting not in HAMS[name].settings:
            raise ValueError(
                f"{setting} is not a setting of ham {name!r}, which has {' and '.join(HAMS[name].settings)}"
            )
    return HAMS[name](**arguments, **given)
