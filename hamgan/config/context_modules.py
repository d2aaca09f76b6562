"""All context modules by name."""

from hamgan.config.comparison_modules import (
    ChannelAttentionConfig,
    CrissCrossAttentionConfig,
    DoubleAttentionConfig,
    EfficientAttentionConfig,
    EMAttentionConfig,
    ExternalAttentionConfig,
    GlobalContextConfig,
    MultiHeadAttentionConfig,
    NonLocalConfig,
    PyramidPoolingConfig,
    SelfAttentionConfig,
    SqueezeExcitationConfig,
)
from hamgan.config.context import ContextConfig, HamburgerConfig, SegmentationHamburgerConfig

CONTEXT_CONFIGS: dict[str, type[ContextConfig]] = {
    config.module: config
    for config in (
        HamburgerConfig,
        SelfAttentionConfig,
        NonLocalConfig,
        MultiHeadAttentionConfig,
        DoubleAttentionConfig,
        EfficientAttentionConfig,
        CrissCrossAttentionConfig,
        ChannelAttentionConfig,
        EMAttentionConfig,
        ExternalAttentionConfig,
        GlobalContextConfig,
        PyramidPoolingConfig,
        SqueezeExcitationConfig,
        SegmentationHamburgerConfig,
    )
}
"""The config class of each context module by name."""
