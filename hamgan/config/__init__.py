"""Configuration of experiments: typed settings, presets and evaluation protocols."""

from hamgan.config.overrides import differences, experiment_from_json, override, to_dict, to_json
from hamgan.config.schema import (
    BATCH_NORM_MODES,
    CONTEXT_CONFIGS,
    FROM_DATASET,
    PRECISIONS,
    TPU_PRECISIONS,
    ContextConfig,
    DataConfig,
    DiscriminatorConfig,
    EvaluationConfig,
    ExperimentConfig,
    GeneratorConfig,
    HamburgerConfig,
    ModelConfig,
    SelfAttentionConfig,
    TrainConfig,
)

__all__ = [
    "BATCH_NORM_MODES",
    "CONTEXT_CONFIGS",
    "FROM_DATASET",
    "PRECISIONS",
    "TPU_PRECISIONS",
    "ContextConfig",
    "DataConfig",
    "DiscriminatorConfig",
    "EvaluationConfig",
    "ExperimentConfig",
    "GeneratorConfig",
    "HamburgerConfig",
    "ModelConfig",
    "SelfAttentionConfig",
    "TrainConfig",
    "differences",
    "experiment_from_json",
    "override",
    "to_dict",
    "to_json",
]
