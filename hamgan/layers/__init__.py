"""Keras 3 layers of HamGAN: Hamburger, matrix decompositions, context modules and normalised layers."""

from hamgan.layers.batch_normalization import BatchNormalization, ConditionalBatchNormalization
from hamgan.layers.bilinear_resize import bilinear_resize
from hamgan.layers.context import (
    ChannelAttention,
    CrissCrossAttention,
    DoubleAttention,
    EfficientAttention,
    EMAttention,
    ExternalAttention,
    GlobalContext,
    MultiHeadAttention,
    NonLocal,
    PyramidPooling,
    SegmentationContext,
    SelfAttention,
    SqueezeExcitation,
)
from hamgan.layers.fixed_bases import fix_bases
from hamgan.layers.hamburger import Hamburger
from hamgan.layers.hams import NMF, ConceptDecomposition, VectorQuantization
from hamgan.layers.nmf import nmf
from hamgan.layers.segmentation_hamburger import SegmentationHamburger
from hamgan.layers.spectral_normalization import SNConv2D, SNDense, SNEmbedding, spectral_norm
from hamgan.layers.spherical_k_means import concept_decomposition, vector_quantization

__all__ = [
    "NMF",
    "BatchNormalization",
    "ChannelAttention",
    "ConceptDecomposition",
    "ConditionalBatchNormalization",
    "CrissCrossAttention",
    "DoubleAttention",
    "EMAttention",
    "EfficientAttention",
    "ExternalAttention",
    "GlobalContext",
    "Hamburger",
    "MultiHeadAttention",
    "NonLocal",
    "PyramidPooling",
    "SNConv2D",
    "SNDense",
    "SNEmbedding",
    "SegmentationContext",
    "SegmentationHamburger",
    "SelfAttention",
    "SqueezeExcitation",
    "VectorQuantization",
    "bilinear_resize",
    "concept_decomposition",
    "fix_bases",
    "nmf",
    "spectral_norm",
    "vector_quantization",
]
