import dataclasses
import json

import pytest

from hamgan.config import (
    FROM_DATASET,
    HamHeadConfig,
    HamNetHeadConfig,
    LightHamHeadConfig,
    MSCANConfig,
    ResNetConfig,
    SegmentationConfig,
    differences,
    experiment_from_json,
    override,
    to_json,
)
from hamgan.config.presets import PRESETS, digits
from hamgan.config.segmentation_presets import (
    SEGMENTATION_PRESETS,
    get_segmentation_preset,
    scenes,
    segnext_tiny,
    voc_trainaug,
    voc_trainval,
)
from hamgan.errors import UserError


def test_the_published_stages_differ_in_data_and_schedule_alone():
    first, second = voc_trainaug(), voc_trainval()
    assert differences(first, second) == {
        "name": ("voc_trainaug", "voc_trainval"),
        "data.train_split": ("trainaug", "trainval"),
        "train.steps": (60_000, 20_000),
        "train.learning_rate": (9e-3, 9e-4),
    }
    train = first.train
    assert train.init_from == ""  # It must be named.
    assert (train.global_batch, train.momentum, train.weight_decay, train.bias_factor) == (16, 0.9, 1e-4, 2.0)
    assert (train.power, train.decay_every, train.warmup_steps, first.augmentation.crop) == (0.9, 10, 0, 513)
    assert first.model.backbone == ResNetConfig(variant="resnet101", output_stride=8)
    assert (first.model.num_classes, first.model.head.version, first.model.head.rank) == (21, "v2", 64)


def test_the_recipe_of_segnext_is_the_published_one():
    config = segnext_tiny()
    train = config.train
    assert (train.optimizer, train.learning_rate, train.head_factor, train.weight_decay) == ("adamw", 6e-5, 10, 0.01)
    assert (train.power, train.warmup_steps, train.warmup_factor, train.steps) == (1.0, 1_500, 1e-6, 160_000)
    assert config.model.head == LightHamHeadConfig(channels=256, rank=16)
    assert config.model.num_classes is FROM_DATASET
    crop, evaluation = config.augmentation, config.evaluation
    assert (crop.crop, crop.short_side, crop.ratios, crop.any_ratio) == (512, 512, (0.5, 2.0), True)
    assert (crop.max_class_share, crop.align_corners, crop.flip, crop.color) == (0.75, False, True, True)
    assert (evaluation.short_side, evaluation.window, evaluation.combination) == (512, None, "probabilities")


def test_configs_of_earlier_versions_keep_their_meaning():
    values = json.loads(to_json(scenes()))
    for group, name in (
        ("augmentation", "max_class_share"),
        ("augmentation", "align_corners"),
        ("evaluation", "short_side"),
    ):
        del values[group][name]
    config = experiment_from_json(json.dumps(values), "here")
    assert config == scenes()
    assert config.augmentation.align_corners
    assert (config.augmentation.max_class_share, config.evaluation.short_side) == (None, None)


@pytest.mark.parametrize("name", SEGMENTATION_PRESETS)
def test_presets_survive_json(name):
    config = get_segmentation_preset(name)
    assert config.name == name
    assert experiment_from_json(to_json(config), "here") == config


def test_configs_of_both_kinds_are_told_apart_by_their_task():
    assert isinstance(experiment_from_json(to_json(scenes()), "here"), SegmentationConfig)
    for preset in PRESETS.values():
        assert "task" not in json.loads(to_json(preset()))
        assert experiment_from_json(to_json(preset()), "here") == preset()
    with pytest.raises(UserError, match="'task' expects 'segmentation' or no such field, found 'depth'"):
        experiment_from_json(to_json(scenes()).replace('"segmentation"', '"depth"'), "here")


def test_overrides_assign_fields_lists_and_variants():
    config = override(
        scenes(),
        [
            "augmentation.ratios=0.5,1,1.5",
            "model.backbone.depths=2,2,2,1",
            "model.head.version=none",
            "train.optimizer=sgd",
            "evaluation.flip=true",
        ],
    )
    assert config.augmentation.ratios == (0.5, 1.0, 1.5)
    assert config.model.backbone == dataclasses.replace(scenes().model.backbone, depths=(2, 2, 2, 1))
    assert (config.model.head.version, config.train.optimizer, config.evaluation.flip) == (None, "sgd", True)
    assert override(config, ["model.backbone.depths=none"]).model.backbone.depths is None


def test_a_variant_replaces_another_with_its_defaults():
    config = override(
        scenes(),
        ["model.backbone.kind=mscan", "model.backbone.widths=4,8,12,16", "model.head.kind=ham", "model.head.rank=3"],
    )
    assert config.model.backbone == MSCANConfig(widths=(4, 8, 12, 16))
    assert config.model.head == HamHeadConfig(rank=3)
    same = override(scenes(), ["model.head.kind=hamnet"])
    assert same.model.head == scenes().model.head != HamNetHeadConfig()


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("model.head.kind=lightham", "unknown kind of head 'lightham'; did you mean 'light_ham'"),
        ("model.backbone.kind=vit", "unknown kind of backbone 'vit'; expected one of resnet, mscan"),
        ("model.backbone.widths=1,2,3,4", "unknown field 'model.backbone.widths'"),
        ("model.backbone.depths=1,2,3", "model.backbone.depths must be four positive numbers"),
        ("model.backbone.depths=a,b", "'model.backbone.depths' expects int, int, ... or none, found 'a,b'"),
        ("model.backbone.output_stride=4", "model.backbone.output_stride must be 8 or 16, found 4"),
        ("model.backbone=resnet", "'model.backbone' is a group of fields"),
        ("model.head.version=v3", "model.head.version must be none or one of v1, v2, v2plus, found 'v3'"),
        ("model.head.form=dual", "form=dual and cheese_factor need version=v2plus, found version=v2"),
        ("model.head.ridge=0.1", "ridge needs ham=cd, found ham=nmf; leave it out"),
        ("train.optimizer=adam", "train.optimizer must be one of sgd, adamw, found 'adam'"),
        ("train.generator_updates=2", "unknown field 'train.generator_updates'"),
        ("train.learning_rate=0", "train.learning_rate must be positive, found 0.0"),
        ("train.warmup_steps=-1", "train.warmup_steps must not be negative, found -1"),
        ("train.seed=-1", r"train.seed must be in \[0, 2\^31\), found -1"),
        ("augmentation.ratios=0,1", "augmentation.ratios must be positive numbers, such as 0.5,1,2"),
        ("augmentation.crop=0", "augmentation.crop must be positive, found 0"),
        ("augmentation.max_class_share=1", "max_class_share must be none or between 0 and 1, such as 0.75, found 1.0"),
        ("evaluation.short_side=0", "evaluation.short_side must be positive, found 0"),
        ("evaluation.combination=mean", "evaluation.combination must be one of logits, probabilities"),
        ("evaluation.window_step=8", "evaluation.window_step=8 needs a window"),
        ("task=gan", "task must be 'segmentation', found 'gan'"),
    ],
)
def test_wrong_overrides_are_one_line_errors(assignment, message):
    with pytest.raises(UserError, match=message) as error:
        override(scenes(), [assignment])
    assert "\n" not in str(error.value)


def test_settings_of_a_gan_stay_what_they_were():
    fields = {field.name for field in dataclasses.fields(digits().train)}
    assert {"global_batch", "accumulation", "steps", "init_from", "ema_decay", "max_rollbacks"} <= fields
    with pytest.raises(UserError, match=r"unknown field 'train\.optimizer'"):
        override(digits(), ["train.optimizer=sgd"])


def test_an_unknown_preset_has_a_hint():
    with pytest.raises(UserError, match="unknown preset 'scene'; did you mean 'scenes'"):
        get_segmentation_preset("scene")
