"""Every context module by name, in the networks of a config."""

import numpy as np
import pytest
import tensorflow as tf

from hamgan import random_streams
from hamgan.config import CONTEXT_CONFIGS, experiment_from_json, override, to_json
from hamgan.config.presets import digits
from hamgan.errors import UserError
from hamgan.networks.build import build_discriminator, build_generator
from hamgan.networks.context import CONTEXT_MODULES
from hamgan.random_streams import Purpose

LABELS = np.array([3, 0])
RESOLUTION = 8
# Settings of modules whose defaults are too large for a tiny network.
HAMBURGER = {"latent_dim": 4, "rank": 2, "num_steps": 1}
SETTINGS = {"hamburger": HAMBURGER, "segmentation_hamburger": HAMBURGER, "global_context": {"reduction": 2}}


def tiny(network, modules):
    """Overrides that give a tiny network these context modules at one resolution."""
    yield f"model.{network}.base_channels=4"
    yield f"model.{network}.context=none"
    for index, module in enumerate(modules):
        for name, value in {"module": module, "resolution": RESOLUTION, **SETTINGS.get(module, {})}.items():
            yield f"model.{network}.context.{index}.{name}={value}"


@pytest.fixture(scope="module")
def config():
    """The digits preset with every context module in both networks, through JSON."""
    overrides = [line for network in ("generator", "discriminator") for line in tiny(network, CONTEXT_CONFIGS)]
    config = override(digits(), overrides)
    assert experiment_from_json(to_json(config), "here") == config
    return config.model


def test_every_module_of_both_networks_gets_a_gradient(config):
    generator, discriminator = build_generator(config), build_discriminator(config)
    for network in (generator, discriminator):
        assert [type(module) for module in network.context] == [CONTEXT_MODULES[name] for name in CONTEXT_CONFIGS]
    z = np.random.default_rng(0).normal(size=(2, config.generator.z_dim)).astype(np.float32)
    key = random_streams.fold(0)

    def logits():
        bases = [
            network.draw_initial_bases(key, purpose, first=0, count=2)
            for network, purpose in (
                (generator, Purpose.GENERATOR_BASES),
                (discriminator, Purpose.DISCRIMINATOR_BASES_FAKE),
            )
        ]
        fakes = generator(z, LABELS, training=True, initial_bases=bases[0])
        return discriminator(fakes, LABELS, training=True, initial_bases=bases[1])

    sigmas = [module.sigma for network in (generator, discriminator) for module in network.context]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(logits())
    for module, gradient in zip(sigmas, tape.gradient(loss, [sigma.value for sigma in sigmas]), strict=True):
        assert np.isfinite(gradient), module.path
        assert np.abs(gradient) > 0, module.path


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("hamburger.gradient=all", "gradient must be one of one_step, unrolled, found 'all'"),
        ("hamburger.bases=online", "bases must be one of random, fixed, running, found 'online'"),
        ("hamburger.evaluation_bases=online", "evaluation_bases must be one of random, fixed, running, found 'online'"),
        ("hamburger.evaluation_bases=running", "evaluation_bases=running needs bases=running or bases=fixed, found"),
        ("hamburger.bases_momentum=1", r"bases_momentum must be in \[0, 1\), found 1.0"),
        ("hamburger.evaluation_steps=0", "evaluation_steps must be positive, found 0"),
        ("hamburger.ridge=0.1", "ridge needs ham=cd, found 0.1 with ham=nmf; leave it out"),
        ("hamburger.inverse_temperature=10", "inverse_temperature needs ham=cd or vq, found 10.0 with ham=nmf"),
        ("non_local.mode=concatenation", "mode must be one of gaussian, embedded_gaussian, dot_product, found 'conc"),
        ("non_local.reduction=0", "reduction must be positive, found 0"),
        ("multi_head_attention.num_heads=0", "num_heads must be positive, found 0"),
        ("double_attention.feature_channels=0", "feature_channels must be positive, found 0"),
        ("efficient_attention.num_heads=-1", "num_heads must be positive, found -1"),
        ("criss_cross_attention.recurrence=0", "recurrence must be positive, found 0"),
        ("em_attention.num_bases=0", "num_bases must be positive, found 0"),
        ("em_attention.bases_momentum=1", r"bases_momentum must be in \[0, 1\), found 1.0"),
        ("em_attention.gradient=all", "gradient must be one of none, one_step, unrolled, found 'all'"),
        ("external_attention.num_memories=0", "num_memories must be positive, found 0"),
        ("global_context.fusion=sum", "fusion must be one of add, mul, both, found 'sum'"),
        ("global_context.pooling=max", "pooling must be one of attention, average, found 'max'"),
        ("pyramid_pooling.branch_channels=0", "branch_channels must be positive, found 0"),
        ("squeeze_excitation.reduction=0", "reduction must be positive, found 0"),
        ("segmentation_hamburger.version=v3", "version must be one of v1, v2, v2plus, found 'v3'"),
        ("segmentation_hamburger.cheese_factor=2", "cheese_factor needs version=v2plus, found 2 with version=v2"),
    ],
)
def test_invalid_settings_are_rejected_by_the_config(assignment, message):
    module, _, setting = assignment.partition(".")
    with pytest.raises(UserError, match=message):
        override(digits(), [*tiny("generator", [module]), f"model.generator.context.0.{setting}"])


def test_settings_of_a_hamburger_reach_its_ham():
    settings = {
        "ham": "cd",
        "num_steps": 3,
        "evaluation_steps": 4,
        "gradient": "unrolled",
        "ridge": 0.2,
        "inverse_temperature": 10.0,
        "bases": "running",
        "evaluation_bases": "fixed",
        "bases_momentum": 0.5,
    }
    overrides = [f"model.generator.context.0.{name}={value}" for name, value in settings.items()]
    config = override(digits(), [*tiny("generator", ["hamburger"]), *overrides])
    assert experiment_from_json(to_json(config), "here") == config
    (module,) = build_generator(config.model).context
    del settings["ham"]
    assert {name: getattr(module.ham, name) for name in settings} == settings


def test_a_ridge_of_zero_is_rejected():
    overrides = ["model.generator.context.0.ham=cd", "model.generator.context.0.ridge=0"]
    with pytest.raises(UserError, match="ridge must be positive, found 0"):
        override(digits(), [*tiny("generator", ["hamburger"]), *overrides])


@pytest.mark.parametrize(
    "setting", ["hamburger.bases=fixed", "hamburger.evaluation_steps=3", "em_attention.num_bases=3"]
)
def test_modules_with_another_training_mode_need_whole_batches(setting):
    module, _, setting = setting.partition(".")
    overrides = [*tiny("generator", [module]), f"model.generator.context.0.{setting}"]
    assert override(digits(), overrides).train.accumulation == 1
    with pytest.raises(UserError, match=f"generator.context.0, {module}, .* needs train.accumulation=1, found 2"):
        override(digits(), [*overrides, "train.accumulation=2"])
    override(digits(), [*tiny("generator", ["hamburger", "self_attention"]), "train.accumulation=2"])


def test_bases_are_drawn_for_the_modules_with_random_ones_in_each_mode():
    sources = [("random", "random"), ("fixed", "random"), ("running", "running"), ("random", "fixed")]
    overrides = [
        f"model.generator.context.{index}.{name}={value}"
        for index, pair in enumerate(sources)
        for name, value in zip(("bases", "evaluation_bases"), pair, strict=True)
    ]
    config = override(digits(), [*tiny("generator", ["hamburger"] * len(sources)), *overrides])
    generator = build_generator(config.model)
    for module in generator.context:
        module.sigma.assign(1.0)
    key, labels = random_streams.fold(0), tf.constant(LABELS)
    every = [module.draw_initial_bases(random_streams.fold(1), first=0, count=2) for module in generator.context]
    for training, indices in ((True, [0, 3]), (False, [0, 1])):
        inputs = generator.draw_inputs(key, count=2, labels=labels, training=training)
        assert len(inputs.initial_bases) == len(indices)
        before = [module.ham.running_bases for module in generator.context]
        before = [None if bases is None else bases.numpy() for bases in before]
        first = generator(*inputs, training=training)
        if not training:  # Singular vectors and statistics do not move: the bases determine the images.
            np.testing.assert_array_equal(generator(*inputs), first)
            for index in range(2):
                changed = [bases + 0.5 * (index == place) for place, bases in enumerate(inputs.initial_bases)]
                assert np.abs(generator(inputs.z, labels, changed) - first).max() > 1e-6
            # Bases for every module replace all of them.
            replaced = generator(inputs.z, labels, every)
            assert np.abs(replaced - first).max() > 1e-6
            every[2] += 0.5
            assert np.abs(generator(inputs.z, labels, every) - replaced).max() > 1e-6
        moved = [
            old is not None and np.abs(module.ham.running_bases - old).max() > 1e-4
            for module, old in zip(generator.context, before, strict=True)
        ]
        assert moved == [False, False, training, False]
