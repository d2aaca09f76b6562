"""The matrix decompositions ("hams") as layers: NMF, concept decomposition and vector quantisation."""

from typing import Any, ClassVar

import keras
import tensorflow as tf

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
    """Non-negative matrix factorisation; initial bases uniform in [0, 1). See :func:`hamgan.layers.nmf`.

    Args:
        rectify: whether relu is applied to the inputs; without it they must not be negative.
        normalize_bases: whether initial bases are L2-normalised along D.

    The other arguments are those of :class:`MatrixDecomposition`.
    """

    initial_distribution = "uniform"
    settings = ("rectify", "normalize_bases")

    def __init__(self, *, rectify: bool = True, normalize_bases: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rectify = rectify
        self.normalize_bases = normalize_bases

    def decompose(
        self, inputs: tf.Tensor, initial_bases: tf.Tensor, *, num_steps: int, can_be_exported: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """See :func:`hamgan.layers.nmf`."""
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
    """Base of the hams on soft spherical k-means; initial bases standard normal, then normalised.

    Args:
        inverse_temperature: factor of the scores inside the softmax.
    """

    initial_distribution = "normal"
    settings: ClassVar[tuple[str, ...]] = ("inverse_temperature",)

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
    """Concept decomposition. See :func:`hamgan.layers.concept_decomposition`.

    Args:
        ridge: weight of the identity in the regression.

    The other arguments are those of :class:`SphericalKMeans` and :class:`MatrixDecomposition`. In evaluation from fixed
    or running bases the regression is solved by matrix products alone, so that the layer can be exported.
    """

    settings = ("inverse_temperature", "ridge")

    def __init__(self, *, ridge: float = RIDGE, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not ridge > 0:
            raise ValueError(f"ridge must be positive, received {ridge}")
        self.ridge = ridge

    def decompose(
        self, inputs: tf.Tensor, initial_bases: tf.Tensor, *, num_steps: int, can_be_exported: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """See :func:`hamgan.layers.concept_decomposition`."""
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
    """Vector quantisation. See :func:`hamgan.layers.vector_quantization`.

    The arguments are those of :class:`SphericalKMeans` and :class:`MatrixDecomposition`.
    """

    def decompose(
        self, inputs: tf.Tensor, initial_bases: tf.Tensor, *, num_steps: int, can_be_exported: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """See :func:`hamgan.layers.vector_quantization`."""
        return vector_quantization_and_bases(
            inputs,
            initial_bases,
            num_steps=num_steps,
            gradient=self.gradient,
            inverse_temperature=self.inverse_temperature,
        )


HAMS: dict[str, type[MatrixDecomposition]] = {"nmf": NMF, "cd": ConceptDecomposition, "vq": VectorQuantization}
