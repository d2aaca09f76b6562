"""Presets of segmentation: functions that return the config of a named experiment."""

import dataclasses
from collections.abc import Callable

from hamgan.config.fields import FROM_DATASET
from hamgan.config.schema import DataConfig
from hamgan.config.segmentation import SegmentationConfig, SegmentationEvaluationConfig, SegmentationModelConfig
from hamgan.config.segmentation_backbones import MSCANConfig, ResNetConfig
from hamgan.config.segmentation_heads import HamNetHeadConfig, LightHamHeadConfig
from hamgan.config.segmentation_training import CropConfig, SegmentationTrainConfig
from hamgan.errors import UserError, did_you_mean

__all__ = [
    "SEGMENTATION_PRESETS",
    "get_segmentation_preset",
    "own_masks",
    "scenes",
    "segnext_tiny",
    "voc_trainaug",
    "voc_trainval",
]


def voc_trainaug() -> SegmentationConfig:
    """Returns the first published stage of HamNet: ResNet-101 on the 10,582 images of trainaug.

    It starts from an ImageNet ResNet, which ``train.init_from`` must name. Validation scores are those of this stage.

    Reference: Geng et al., Is Attention Better Than Matrix Decomposition? (ICLR 2021).

    Example:
        >>> from hamgan.config.segmentation_presets import voc_trainaug
        >>> voc_trainaug().train.steps
        60000
    """
    return SegmentationConfig(
        name="voc_trainaug",
        model=SegmentationModelConfig(num_classes=21, backbone=ResNetConfig(), head=HamNetHeadConfig(version="v2")),
        data=DataConfig(dataset="voc2012", train_split="trainaug", validation_split="validation", shuffle_buffer=2_000),
        augmentation=CropConfig(crop=513),
        train=SegmentationTrainConfig(
            global_batch=16,
            steps=60_000,
            learning_rate=9e-3,
            checkpoint_every=1_000,
            max_to_keep=10,
            image_every=1_000,
            init_from="",
            seed=66,
        ),
    )


def voc_trainval() -> SegmentationConfig:
    """Returns the second published stage, for the test set: trainval, a tenth of the learning rate.

    It needs the final weights of the first stage as ``train.init_from``. Its validation images are training images.

    Example:
        >>> from hamgan.config.segmentation_presets import voc_trainval
        >>> voc_trainval().data.train_split
        'trainval'
    """
    first = voc_trainaug()
    return dataclasses.replace(
        first,
        name="voc_trainval",
        data=dataclasses.replace(first.data, train_split="trainval"),
        train=dataclasses.replace(first.train, steps=20_000, learning_rate=9e-4),
    )


def segnext_tiny() -> SegmentationConfig:
    """Returns SegNeXt-T with the recipe of ADE20K: AdamW, 160,000 steps, crops of 512.

    It starts from an ImageNet MSCAN, which ``train.init_from`` must name.

    Reference: Guo et al., SegNeXt (NeurIPS 2022).

    Example:
        >>> from hamgan.config.segmentation_presets import segnext_tiny
        >>> segnext_tiny().model.head.rank
        16
    """
    return SegmentationConfig(
        name="segnext_tiny",
        model=SegmentationModelConfig(
            num_classes=FROM_DATASET,
            backbone=MSCANConfig(variant="tiny"),
            head=LightHamHeadConfig(channels=256, rank=16),
        ),
        data=DataConfig(dataset="", train_split=FROM_DATASET, validation_split=FROM_DATASET, shuffle_buffer=2_000),
        augmentation=CropConfig(
            crop=512,
            ratios=(0.5, 2.0),
            any_ratio=True,
            short_side=512,
            align_corners=False,
            max_class_share=0.75,
            color=True,
        ),
        train=SegmentationTrainConfig(
            global_batch=16,
            steps=160_000,
            optimizer="adamw",
            learning_rate=6e-5,
            weight_decay=0.01,
            head_factor=10.0,
            power=1.0,
            decay_every=1,
            warmup_steps=1_500,
            checkpoint_every=2_000,
            max_to_keep=10,
            image_every=2_000,
            init_from="",
        ),
        evaluation=SegmentationEvaluationConfig(combination="probabilities", short_side=512),
    )


def scenes() -> SegmentationConfig:
    """Returns the quickstart of segmentation: digits on photographs, which a small HamNet learns in minutes on a CPU.

    Example:
        >>> from hamgan.config.segmentation_presets import scenes
        >>> scenes().model.num_classes
        11
    """
    return SegmentationConfig(
        name="scenes",
        model=SegmentationModelConfig(
            num_classes=11,
            backbone=ResNetConfig(variant="resnet50", depths=(1, 1, 1, 1), base_channels=16, batch_norm_momentum=0.97),
            head=HamNetHeadConfig(channels=64, align_channels=64, rank=16, batch_norm_momentum=0.97),
        ),
        data=DataConfig(dataset="scenes", shuffle_buffer=1_200),
        # Small crops leave time for more steps; colors and scales make up for the two photographs.
        augmentation=CropConfig(crop=97, ratios=(0.9, 1.3), any_ratio=True, flip=False, color=True),
        train=SegmentationTrainConfig(
            global_batch=8,
            steps=3_000,
            optimizer="adamw",
            learning_rate=4e-3,
            weight_decay=0.05,
            decay_every=1,
            warmup_steps=100,
            steps_per_loop=50,
            checkpoint_every=500,
            max_to_keep=10,
            image_every=500,
        ),
        # Near the middle of the scales in training.
        evaluation=SegmentationEvaluationConfig(ratios=(1.15,)),
    )


def own_masks() -> SegmentationConfig:
    """Returns a start for your own masks: a small HamNet, with classes and splits from the data set.

    Name the data set by ``--dataset``. Start from a published backbone, by ``train.init_from``, if you have one: then
    set the backbone to that one. Images are mirrored: override ``augmentation.flip=false`` for images with an
    orientation, such as text.

    Example:
        >>> from hamgan.config.segmentation_presets import own_masks
        >>> own_masks().train.global_batch
        8
    """
    return SegmentationConfig(
        name="own_masks",
        model=SegmentationModelConfig(
            num_classes=FROM_DATASET,
            backbone=ResNetConfig(variant="resnet50", depths=(2, 2, 2, 2), base_channels=32, batch_norm_momentum=0.99),
            head=HamNetHeadConfig(channels=128, align_channels=128, rank=32, batch_norm_momentum=0.99),
        ),
        data=DataConfig(dataset="", train_split=FROM_DATASET, validation_split=FROM_DATASET, shuffle_buffer=1_000),
        augmentation=CropConfig(crop=257),
        train=SegmentationTrainConfig(
            global_batch=8,
            steps=20_000,
            optimizer="adamw",
            learning_rate=1e-3,
            weight_decay=0.01,
            decay_every=1,
            warmup_steps=200,
            checkpoint_every=1_000,
            max_to_keep=10,
            image_every=1_000,
        ),
    )


SEGMENTATION_PRESETS: dict[str, Callable[[], SegmentationConfig]] = {
    preset.__name__: preset for preset in (voc_trainaug, voc_trainval, segnext_tiny, scenes, own_masks)
}
"""The presets by name."""


def get_segmentation_preset(name: str) -> SegmentationConfig:
    """Returns the config of a preset.

    Args:
        name: name of the preset, one of :data:`SEGMENTATION_PRESETS`.

    Raises:
        UserError: if the preset is unknown.

    Example:
        >>> from hamgan.config.segmentation_presets import get_segmentation_preset
        >>> get_segmentation_preset("scenes").name
        'scenes'
    """
    if name not in SEGMENTATION_PRESETS:
        hint = did_you_mean(name, SEGMENTATION_PRESETS) or f"; expected one of {', '.join(SEGMENTATION_PRESETS)}"
        raise UserError(f"unknown preset '{name}'{hint}")
    return SEGMENTATION_PRESETS[name]()
