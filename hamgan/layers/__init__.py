"""Keras 3 layers of HamGAN, for its networks and for anybody's functional models."""

from hamgan.layers.batch_normalization import BatchNormalization, ConditionalBatchNormalization
from hamgan.layers.hamburger import Hamburger
from hamgan.layers.matrix_decomposition import (
    NMF,
    ConceptDecomposition,
    VectorQuantization,
    concept_decomposition,
    nmf,
    vector_quantization,
)
from hamgan.layers.self_attention import SelfAttention
from hamgan.layers.spectral_normalization import SNConv2D, SNDense, SNEmbedding, spectral_norm

__all__ = [
    "NMF",
    "BatchNormalization",
    "ConceptDecomposition",
    "ConditionalBatchNormalization",
    "Hamburger",
    "SNConv2D",
    "SNDense",
    "SNEmbedding",
    "SelfAttention",
    "VectorQuantization",
    "concept_decomposition",
    "nmf",
    "spectral_norm",
    "vector_quantization",
]
