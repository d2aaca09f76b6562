import dataclasses
import json
import logging

import pytest

from hamgan.config import (
    AugmentationConfig,
    ExperimentConfig,
    HamburgerConfig,
    RegularizationConfig,
    SelfAttentionConfig,
    differences,
    experiment_from_json,
    override,
    to_json,
)
from hamgan.config.presets import PRESETS, digits, get_preset, hamgan_baby, hamgan_strong
from hamgan.errors import UserError


def test_overrides_assign_nested_fields_with_their_types():
    config = override(
        digits(),
        ["model.generator.context.0.rank=3", "train.ema_decay=0.5", "train.deterministic=false", "data.data_dir=/x"],
    )
    assert config.model.generator.context == (dataclasses.replace(digits().model.generator.context[0], rank=3),)
    assert config.train.ema_decay == 0.5
    assert config.train.deterministic is False
    assert config.data.data_dir == "/x"


def test_none_removes_the_hamburger_of_a_single_network():
    config = override(digits(), ["model.generator.context=none"])
    assert config.model.generator.context == ()
    assert config.model.discriminator.context == digits().model.discriminator.context


def test_overrides_are_validated_together():
    both = ["model.resolution=64", "model.generator.context.0.resolution=64"]
    assert override(digits(), both).model.generator.context[0].resolution == 64
    with pytest.raises(
        UserError,
        match=r"context resolution must be one of .* override model.generator.context.0.resolution",
    ):
        override(digits(), both[1:])


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("train.steps", "FIELD=VALUE"),
        ("trian.steps=3", "unknown field 'trian'; did you mean 'train'"),
        ("train.global_btach=3", "unknown field 'train.global_btach'; did you mean 'global_batch'"),
        ("train.steps=many", "'train.steps' expects int, found 'many'"),
        ("train.deterministic=1", "'train.deterministic' expects bool"),
        ("train.steps.more=1", "'train.steps' is a value"),
        ("train=3", "'train' is a group of fields"),
        ("model.generator.context=yes", "set it to none, or override model.generator.context.0.FIELD"),
        ("model.generator.hamburger=yes", "'model.generator.context' is a list: set it to none"),
        ("model.generator.context.0=yes", "'model.generator.context.0' is a group of fields"),
        ("model.generator.context.first.rank=3", "expected model.generator.context.0 and so on"),
        ("model.generator.context.0.rnak=3", "unknown field 'model.generator.context.0.rnak'; did you mean 'rank'"),
        ("model.generator.context.0.module=humburger", "unknown context module 'humburger'; did you mean 'hamburger'"),
        (
            "model.generator.context.1.rank=3",
            "to append one, set model.generator.context.1.module to hamburger or self_attention",
        ),
        ("model.generator.context.2.module=hamburger", "has 1 module: the next one is model.generator.context.1"),
        ("train.steps=0", "train.steps must be positive, found 0"),
        ("train.ema_warmup=0.5", r"train.ema_warmup must be at least 1, found 0.5"),
        ("train.ema_decay=1", r"train.ema_decay must be in \[0, 1\), found 1.0"),
        ("train.seed=-1", r"train.seed must be in"),
        ("train.label_distribution=equal", "train.label_distribution must be one of uniform, dataset, found 'equal'"),
        ("evaluation.seed=-1", r"evaluation.seed must be in"),
        ("model.channels=2", r"model.channels must be 1 \(gray\) or 3 \(RGB\), found 2"),
        ("model.resolution=48", "model.resolution must be one of 32, 64, 128, 256"),
        ("model.generator.context.0.ham=nfm", "model.generator.context.0.ham must be one of nmf, cd, vq, found 'nfm'"),
        ("model.discriminator.context.0.version=v3", "version must be one of v1, v2"),
        ("model.generator.batch_norm_momentum=1.5", "model.generator.batch_norm_momentum must be in"),
        ("train.image_every=-1", "train.image_every must not be negative"),
    ],
)
def test_errors_of_overrides_say_what_is_expected(assignment, message):
    with pytest.raises(UserError, match=message):
        override(digits(), [assignment])


def test_fields_of_a_missing_module_cannot_be_assigned():
    with pytest.raises(UserError, match=r"'model\.generator\.context' has 0 modules and no"):
        override(digits(), ["model.generator.context=none", "model.generator.context.0.rank=3"])


ANEW = ["model.generator.context.0.module=hamburger", "model.generator.context.0.resolution=16"]


def test_context_modules_are_added_and_replaced_by_name():
    added = [
        "model.generator.context.1.module=self_attention",
        "model.generator.context.1.resolution=8",
        "model.generator.context.2.module=hamburger",
        "model.generator.context.2.resolution=8",
        "model.generator.context.2.rank=4",
    ]
    config = override(digits(), added)
    assert config.model.generator.context == (
        digits().model.generator.context[0],
        SelfAttentionConfig(resolution=8),
        HamburgerConfig(resolution=8, rank=4),
    )
    assert experiment_from_json(to_json(config), "here") == config
    replaced = override(digits(), ["model.generator.context.0.module=self_attention"])
    assert replaced.model.generator.context == (SelfAttentionConfig(resolution=16),)
    same = override(digits(), ["model.generator.context.0.module=hamburger"])
    assert same == digits()
    again = override(digits(), ["model.generator.context=none", *ANEW])
    assert again.model.generator.context == (HamburgerConfig(resolution=16),)


def test_overrides_of_earlier_versions_are_accepted(caplog):
    caplog.set_level(logging.INFO, logger="hamgan")
    old = ["model.generator.hamburger.rank=3", "model.discriminator.hamburger=none"]
    old.append("model.generator.recomputed_blocks=2")
    new = ["model.generator.context.0.rank=3", "model.discriminator.context=none"]
    assert override(digits(), old) == override(digits(), new)
    (message,) = caplog.messages
    assert "model.generator.recomputed_blocks=2: ignored" in message


def test_configs_of_earlier_versions_are_accepted(caplog):
    caplog.set_level(logging.INFO, logger="hamgan")
    config = override(digits(), ["model.discriminator.context=none"])
    values = json.loads(to_json(config))
    del values["model"]["channels"], values["train"]["label_distribution"]
    (hamburger,) = values["model"]["generator"].pop("context")
    del hamburger["module"]
    values["model"]["generator"].update(hamburger=hamburger, recomputed_blocks=2)
    del values["model"]["discriminator"]["context"]
    values["model"]["discriminator"]["hamburger"] = None
    assert experiment_from_json(json.dumps(values), "config.json") == config
    assert caplog.messages == ["config.json: ignored fields that no longer exist: model.generator.recomputed_blocks"]


@pytest.mark.parametrize("name", PRESETS)
def test_json_round_trip(name):
    config = get_preset(name)
    assert experiment_from_json(to_json(config), "here") == config
    without = override(config, ["model.discriminator.context=none"])
    assert experiment_from_json(to_json(without), "here") == without


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "config.json is not a HamGAN config"),
        ("[]", "expected an object"),
        ("{}", "lacks name"),
        ('{"name": "x", "train": {"stpes": 3}}', "unknown field 'train.stpes'; did you mean 'steps'"),
        ('{"name": "x", "train": {"steps": "3"}}', "'train.steps' expects int, found '3'"),
        ('{"name": "x", "train": {"steps": true}}', "'train.steps' expects int, found True"),
        (
            '{"name": "x", "model": {"generator": {"context": 3}}}',
            "'model.generator.context' expects a list of context",
        ),
        (
            '{"name": "x", "model": {"generator": {"context": [{}]}}}',
            r"context.0.module' expects hamburger or self_att",
        ),
        ('{"name": "x", "model": {"generator": {"hamburger": 3}}}', r"context.0.module' expects .* found None"),
    ],
)
def test_invalid_json_is_rejected(text, message):
    with pytest.raises(UserError, match=message):
        experiment_from_json(text, "config.json")


def test_integers_in_json_are_accepted_for_float_fields():
    config = experiment_from_json('{"name": "x", "train": {"ema_decay": 0}}', "here")
    assert isinstance(config.train.ema_decay, float)


def test_differences_have_dotted_paths():
    other = override(digits(), ["train.steps=7", "model.generator.context=none"])
    assert differences(digits(), other) == {
        "train.steps": (digits().train.steps, 7),
        "model.generator.context": (digits().model.generator.context, ()),
    }
    deeper = override(digits(), ["model.generator.context.0.rank=3"])
    assert differences(digits(), deeper) == {"model.generator.context.0.rank": (8, 3)}
    assert differences(digits(), digits()) == {}


def test_published_presets_match_the_paper():
    strong, baby = hamgan_strong(), hamgan_baby()
    for config in (strong, baby):
        assert config.model.resolution == 128
        assert config.model.num_classes == 1000
        assert config.model.generator.base_channels == config.model.discriminator.base_channels == 64
        assert config.model.generator.z_dim == 128
        assert config.model.generator.batch_norm_momentum == 0.999
        assert config.model.generator.context == (HamburgerConfig("hamburger", 32, "nmf", "v1", 256, 32, 6, 1),)
        assert config.model.discriminator.context == (HamburgerConfig("hamburger", 32, "nmf", "v1", 128, 16, 6, 1),)
        train = config.train
        assert (train.adam_beta1, train.adam_beta2, train.adam_epsilon) == (0.0, 0.999, 1e-8)
        assert (train.generator_learning_rate, train.discriminator_learning_rate) == (1e-4, 4e-4)
        assert (train.discriminator_updates, train.generator_updates, train.ema_decay) == (1, 1, 0.0)
        assert (train.checkpoint_every, train.max_to_keep) == (1000, 100)
        assert config.data.dataset == "imagenet2012"
        assert config.data.shuffle_buffer == 10_000
    assert (strong.train.global_batch, strong.train.steps) == (1024, 1_000_000)
    assert (baby.train.global_batch, baby.train.steps) == (256, 2_000_000)


def test_unknown_preset_suggests_the_nearest():
    with pytest.raises(UserError, match="unknown preset 'hamgan_stong'; did you mean 'hamgan_strong'"):
        get_preset("hamgan_stong")
    with pytest.raises(UserError, match="expected one of hamgan_strong, hamgan_baby, hamgan_plus, digits, small_data"):
        get_preset("xyz")


def test_hamgan_plus_differs_from_the_published_preset_only_in_what_it_documents():
    changed = differences(hamgan_strong(), get_preset("hamgan_plus"))
    assert set(changed) == {
        *("name", "train.ema_decay", "train.precision", "augmentation.flip", "regularization.lecam")
    }


def test_published_presets_have_no_augmentation_and_no_penalties():
    for config in (hamgan_strong(), hamgan_baby(), digits()):
        assert (config.augmentation, config.regularization) == (AugmentationConfig(), RegularizationConfig())
        assert config.train.accumulation == 1


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("augmentation.probability=0", r"augmentation.probability must be in \(0, 1\], found 0"),
        ("regularization.r1=-1", "regularization.r1 must not be negative"),
        ("regularization.r1_interval=0", "regularization.r1_interval must be positive"),
        ("regularization.lecam_decay=1", r"regularization.lecam_decay must be in \[0, 1\)"),
        ("train.accumulation=0", "train.accumulation must be positive"),
        ("augmentation.flips=true", "unknown field 'augmentation.flips'; did you mean 'flip'"),
    ],
)
def test_augmentation_and_penalties_are_validated(field, message):
    with pytest.raises(UserError, match=message):
        override(digits(), [field])


def test_presets_are_named_like_their_configs():
    assert all(isinstance(get_preset(name), ExperimentConfig) and get_preset(name).name == name for name in PRESETS)
