"""Configuration of experiments: typed settings, presets and evaluation protocols."""

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
from hamgan.config.config_differences import differences
from hamgan.config.context import ContextConfig, HamburgerConfig, SegmentationHamburgerConfig
from hamgan.config.context_modules import CONTEXT_CONFIGS
from hamgan.config.fields import FROM_DATASET
from hamgan.config.loop import PRECISIONS, TPU_PRECISIONS, LoopConfig
from hamgan.config.model import DiscriminatorConfig, GeneratorConfig, ModelConfig
from hamgan.config.overrides import override
from hamgan.config.schema import BATCH_NORM_MODES, DataConfig, EvaluationConfig, ExperimentConfig
from hamgan.config.segmentation import (
    SEGMENTATION,
    SegmentationConfig,
    SegmentationEvaluationConfig,
    SegmentationModelConfig,
)
from hamgan.config.segmentation_backbones import BackboneConfig, MSCANConfig, ResNetConfig
from hamgan.config.segmentation_heads import HamHeadConfig, HamNetHeadConfig, HeadConfig, LightHamHeadConfig
from hamgan.config.segmentation_training import CropConfig, SegmentationTrainConfig
from hamgan.config.serialization import AnyConfig, experiment_from_json, to_dict, to_json
from hamgan.config.training import AugmentationConfig, RegularizationConfig, TrainConfig

__all__ = [
    "BATCH_NORM_MODES",
    "CONTEXT_CONFIGS",
    "FROM_DATASET",
    "PRECISIONS",
    "SEGMENTATION",
    "TPU_PRECISIONS",
    "AnyConfig",
    "AugmentationConfig",
    "BackboneConfig",
    "ChannelAttentionConfig",
    "ContextConfig",
    "CrissCrossAttentionConfig",
    "CropConfig",
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
    "HamHeadConfig",
    "HamNetHeadConfig",
    "HamburgerConfig",
    "HeadConfig",
    "LightHamHeadConfig",
    "LoopConfig",
    "MSCANConfig",
    "ModelConfig",
    "MultiHeadAttentionConfig",
    "NonLocalConfig",
    "PyramidPoolingConfig",
    "RegularizationConfig",
    "ResNetConfig",
    "SegmentationConfig",
    "SegmentationEvaluationConfig",
    "SegmentationHamburgerConfig",
    "SegmentationModelConfig",
    "SegmentationTrainConfig",
    "SelfAttentionConfig",
    "SqueezeExcitationConfig",
    "TrainConfig",
    "differences",
    "experiment_from_json",
    "override",
    "to_dict",
    "to_json",
]
