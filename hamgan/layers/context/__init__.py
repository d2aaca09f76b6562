"""Context modules: layers that add global context to images. :class:`hamgan.layers.Hamburger` is one too."""

from hamgan.layers.context.channel_attention import ChannelAttention
from hamgan.layers.context.criss_cross_attention import CrissCrossAttention
from hamgan.layers.context.double_attention import DoubleAttention
from hamgan.layers.context.efficient_attention import EfficientAttention
from hamgan.layers.context.em_attention import EMAttention
from hamgan.layers.context.external_attention import ExternalAttention
from hamgan.layers.context.global_context import GlobalContext
from hamgan.layers.context.module import ContextModule
from hamgan.layers.context.multi_head_attention import MultiHeadAttention
from hamgan.layers.context.non_local import NonLocal
from hamgan.layers.context.pyramid_pooling import PyramidPooling
from hamgan.layers.context.residual import ResidualContext
from hamgan.layers.context.segmentation_block import SegmentationContext
from hamgan.layers.context.self_attention import SelfAttention
from hamgan.layers.context.squeeze_excitation import SqueezeExcitation

__all__ = [
    "ChannelAttention",
    "ContextModule",
    "CrissCrossAttention",
    "DoubleAttention",
    "EMAttention",
    "EfficientAttention",
    "ExternalAttention",
    "GlobalContext",
    "MultiHeadAttention",
    "NonLocal",
    "PyramidPooling",
    "ResidualContext",
    "SegmentationContext",
    "SelfAttention",
    "SqueezeExcitation",
]
