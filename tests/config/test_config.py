import dataclasses

import pytest

from hamgan.config import (
    ExperimentConfig,
    HamburgerConfig,
    differences,
    experiment_from_json,
    override,
    to_json,
)
from hamgan.config.presets import PRESETS, digits, get_preset, hamgan_baby, hamgan_strong
from hamgan.errors import UserError


def test_overrides_reach_nested_fields_with_their_types():
    config = override(
        digits(),
        ["model.generator.hamburger.rank=3", "train.ema_decay=0.5", "train.deterministic=false", "data.data_dir=/x"],
    )
    assert config.model.generator.hamburger == dataclasses.replace(digits().model.generator.hamburger, rank=3)
    assert config.train.ema_decay == 0.5
    assert config.train.deterministic is False
    assert config.data.data_dir == "/x"


def test_none_switches_a_hamburger_off_in_one_network_only():
    config = override(digits(), ["model.generator.hamburger=none"])
    assert config.model.generator.hamburger is None
    assert config.model.discriminator.hamburger == digits().model.discriminator.hamburger


def test_overrides_that_only_fit_together_are_validated_together():
    both = ["model.resolution=64", "model.generator.hamburger.resolution=64"]
    assert override(digits(), both).model.generator.hamburger.resolution == 64
    with pytest.raises(UserError, match="hamburger resolution must be one of"):
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
        ("model.generator.hamburger=yes", "set it to none, or override model.generator.hamburger.FIELD"),
        ("train.steps=0", "train.steps must be positive, found 0"),
        ("train.ema_decay=1", r"train.ema_decay must be in \[0, 1\), found 1.0"),
        ("train.seed=-1", r"train.seed must be in"),
        ("evaluation.seed=-1", r"evaluation.seed must be in"),
        ("model.generator.recomputed_blocks=-1", "recomputed_blocks must not be negative, found -1"),
        ("model.generator.recomputed_blocks=4", "recomputed_blocks must be at most 3, the blocks at model.resolution"),
        ("model.resolution=48", "model.resolution must be one of 32, 64, 128, 256"),
        ("model.generator.hamburger.ham=nfm", "model.generator.hamburger.ham must be one of nmf, cd, vq, found 'nfm'"),
        ("model.discriminator.hamburger.version=v3", "version must be one of v1, v2"),
        ("model.generator.batch_norm_momentum=1.5", "model.generator.batch_norm_momentum must be in"),
        ("train.image_every=-1", "train.image_every must not be negative"),
    ],
)
def test_wrong_overrides_say_what_is_expected(assignment, message):
    with pytest.raises(UserError, match=message):
        override(digits(), [assignment])


def test_fields_of_a_hamburger_that_is_off_cannot_be_set():
    with pytest.raises(UserError, match=r"'model\.generator\.hamburger' is none"):
        override(digits(), ["model.generator.hamburger=none", "model.generator.hamburger.rank=3"])


@pytest.mark.parametrize("name", PRESETS)
def test_json_round_trip(name):
    config = get_preset(name)
    assert experiment_from_json(to_json(config), "here") == config
    without = override(config, ["model.discriminator.hamburger=none"])
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
    ],
)
def test_damaged_json_is_refused(text, message):
    with pytest.raises(UserError, match=message):
        experiment_from_json(text, "config.json")


def test_integers_in_json_are_accepted_for_float_fields():
    config = experiment_from_json('{"name": "x", "train": {"ema_decay": 0}}', "here")
    assert isinstance(config.train.ema_decay, float)


def test_differences_are_named_by_dotted_path():
    other = override(digits(), ["train.steps=7", "model.generator.hamburger=none"])
    assert differences(digits(), other) == {
        "train.steps": (digits().train.steps, 7),
        "model.generator.hamburger": (digits().model.generator.hamburger, None),
    }
    assert differences(digits(), digits()) == {}


def test_published_presets_are_those_of_the_paper():
    strong, baby = hamgan_strong(), hamgan_baby()
    for config in (strong, baby):
        assert config.model.resolution == 128
        assert config.model.num_classes == 1000
        assert config.model.generator.base_channels == config.model.discriminator.base_channels == 64
        assert config.model.generator.z_dim == 128
        assert config.model.generator.batch_norm_momentum == 0.999
        assert config.model.generator.hamburger == HamburgerConfig(32, "nmf", "v1", 256, 32, 6, 1)
        assert config.model.discriminator.hamburger == HamburgerConfig(32, "nmf", "v1", 128, 16, 6, 1)
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
    with pytest.raises(UserError, match="there are hamgan_strong, hamgan_baby, digits"):
        get_preset("xyz")


def test_preset_names_are_their_configs_names():
    assert all(isinstance(get_preset(name), ExperimentConfig) and get_preset(name).name == name for name in PRESETS)
