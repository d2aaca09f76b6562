"""Configuration of experiments: typed settings, presets and evaluation protocols."""

from hamgan.config.context import (
    CONTEXT_CONFIGS,
    ChannelAttentionConfig,
    ContextConfig,
    CrissCrossAttentionConfig,
    DoubleAttentionConfig,
    EfficientAttentionConfig,
    EMAttentionConfig,
    ExternalAttentionConfig,
    GlobalContextConfig,
    HamburgerConfig,
    MultiHeadAttentionConfig,
    NonLocalConfig,
    PyramidPoolingConfig,
    SegmentationHamburgerConfig,
    SelfAttentionConfig,
    SqueezeExcitationConfig,
)
from hamgan.config.fields import FROM_DATASET
from hamgan.config.model import DiscriminatorConfig, GeneratorConfig, ModelConfig
from hamgan.config.overrides import differences, experiment_from_json, override, to_dict, to_json
from hamgan.config.schema import BATCH_NORM_MODES, DataConfig, EvaluationConfig, ExperimentConfig
from hamgan.config.training import PRECISIONS, TPU_PRECISIONS, AugmentationConfig, RegularizationConfig, TrainConfig

__all__ = [
    "BATCH_NORM_MODES",
    "CONTEXT_CONFIGS",
    "FROM_DATASET",
    "PRECISIONS",
    "TPU_PRECISIONS",
    "AugmentationConfig",
    "ChannelAttentionConfig",
    "ContextConfig",
    "CrissCrossAttentionConfig",
    "DataConfig",
    "DiscriminatorConfig",
    "DoubleAttentionConfig",
    "EMAttentionConfig",
    "EfficientAttentionConfig",
    "EvaluationConfig",
    "ExperimentConfig",
    "ExternalAttentionConfig",
    "GeneratorConfig",
    "GlobalContextConfig",
    "HamburgerConfig",
    "ModelConfig",
    "MultiHeadAttentionConfig",
    "NonLocalConfig",
    "PyramidPoolingConfig",
    "RegularizationConfig",
    "SegmentationHamburgerConfig",
    "SelfAttentionConfig",
    "SqueezeExcitationConfig",
    "TrainConfig",
    "differences",
    "experiment_from_json",
    "override",
    "to_dict",
    "to_json",
]
