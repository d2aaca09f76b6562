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
SETTINGS = {"hamburger": {"latent_dim": 4, "rank": 2, "num_steps": 1}, "global_context": {"reduction": 2}}


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
    ],
)
def test_invalid_settings_are_rejected_by_the_config(assignment, message):
    module, _, setting = assignment.partition(".")
    with pytest.raises(UserError, match=message):
        override(digits(), [*tiny("generator", [module]), f"model.generator.context.0.{setting}"])
