"""The interface that every context module implements, see hamgan.layers.context.ContextModule."""

import inspect

import numpy as np
import pytest
import tensorflow as tf

from hamgan import random_streams
from hamgan.layers import ChannelAttention, CrissCrossAttention
from hamgan.layers.context import ContextModule
from hamgan.networks.context import CONTEXT_MODULES

BATCH, CHANNELS, NUM_CLASSES = 3, 8, 5

SETTINGS = {
    "hamburger": {"latent_dim": 4, "rank": 2, "num_steps": 2, "num_sections": 2, "evaluation_bases": "random"},
    "self_attention": {},
    "non_local": {},
    "multi_head_attention": {},
    "double_attention": {},
    "efficient_attention": {"num_heads": 2},
    "criss_cross_attention": {"reduction": 2},
    "channel_attention": {},
    "em_attention": {"num_bases": 3},
    "external_attention": {"num_memories": 4},
    "global_context": {"reduction": 2},
    "pyramid_pooling": {},
    "squeeze_excitation": {"reduction": 2},
    "segmentation_hamburger": {"latent_dim": 4, "rank": 2, "num_sections": 2, "evaluation_bases": "random"},
}
BATCH_NORM = {"batch_norm": "conditional", "num_classes": NUM_CLASSES, "batch_norm_momentum": 0.9}


@pytest.fixture(params=CONTEXT_MODULES)
def module(request):
    kind = CONTEXT_MODULES[request.param]
    return kind(**SETTINGS[request.param], **(BATCH_NORM if kind.has_batch_norm else {}))


def images(seed=0):
    return tf.constant(np.random.default_rng(seed).normal(size=(BATCH, 4, 6, CHANNELS)), tf.float32)


def call(module, inputs, *, key=0, training=None):
    """Calls a module with the arguments that it declares, as a network does."""
    arguments = {}
    if module.has_batch_norm:
        arguments.update(labels=np.array([4, 1, 4]), statistics="batch")
    if module.has_bases:
        bases = module.draw_initial_bases(random_streams.fold(key), first=0, count=BATCH)
        arguments.update(initial_bases=bases)
    return module(inputs, training=training, **arguments)


def constructor_arguments(kind):
    """The arguments of a class and, where it forwards keywords, of its base classes."""
    return {name for base in kind.__mro__[:-1] for name in inspect.signature(base.__init__).parameters}


def test_settings_cover_every_module():
    assert SETTINGS.keys() == CONTEXT_MODULES.keys()


def test_declared_arguments_are_those_of_the_signatures(module):
    assert isinstance(module, ContextModule)
    constructor = constructor_arguments(type(module))
    call_arguments = inspect.signature(type(module).call).parameters
    assert "training" in call_arguments
    assert (BATCH_NORM.keys() <= constructor) == module.has_batch_norm
    assert ({"labels", "statistics"} <= call_arguments.keys()) == module.has_batch_norm
    assert ("initial_bases" in call_arguments) == module.has_bases


@pytest.mark.parametrize("training", [False, True])
def test_output_is_the_input_plus_sigma_times_the_context(module, training):
    if isinstance(module, CrissCrossAttention):
        # Its second pass reads the sum after the first one, which depends on sigma.
        module = CrissCrossAttention(**{**SETTINGS["criss_cross_attention"], **BATCH_NORM, "recurrence": 1})
    inputs = images()
    np.testing.assert_array_equal(call(module, inputs, training=training), inputs)  # sigma is 0 at first.
    assert module.sigma.trainable
    assert module.sigma.shape == ()
    assert module.compute_output_shape(inputs.shape) == inputs.shape
    state = module.get_weights()
    contexts = []
    for sigma in (0.5, 2.0):
        module.set_weights(state)
        module.sigma.assign(sigma)
        contexts.append((call(module, inputs, training=training) - inputs) / sigma)
    assert np.abs(contexts[0]).max() > 1e-3
    np.testing.assert_allclose(contexts[0], contexts[1], rtol=1e-4, atol=1e-5)


def test_every_position_depends_on_every_other_one(module):
    module.build((None, None, None, CHANNELS))
    module.sigma.assign(1.0)
    inputs = images()
    if module.has_batch_norm:
        call(module, inputs, training=True)
    changed = inputs + tf.reshape(tf.one_hot(0, 24), (1, 4, 6, 1))
    difference = np.abs(call(module, changed) - call(module, inputs)).max(-1)
    assert (difference > 0).all()


def test_spectral_norm_makes_the_scale_of_kernels_irrelevant(module):
    module.build((None, None, None, CHANNELS))
    module.sigma.assign(1.0)
    inputs = images()
    expected = call(module, inputs)
    kernels = [weight for weight in module.trainable_weights if weight.path.endswith("kernel")]
    assert kernels or isinstance(module, ChannelAttention)
    for kernel in kernels:
        kernel.assign(3 * kernel)
    np.testing.assert_allclose(call(module, inputs), expected, rtol=1e-4, atol=1e-5)


def test_initial_bases_depend_on_key_and_index_only(module):
    module.build((None, None, None, CHANNELS))
    whole, first, rest, other = (
        module.draw_initial_bases(random_streams.fold(seed), first=first, count=count)
        for seed, first, count in ((0, 0, 4), (0, 0, 1), (0, 1, 3), (1, 0, 4))
    )
    if not module.has_bases:
        assert (whole, first, rest, other) == (None, None, None, None)
        return
    np.testing.assert_array_equal(whole, tf.concat([first, rest], axis=0))
    assert np.abs(other - whole).min() > 0
    module.sigma.assign(1.0)
    inputs = images()
    np.testing.assert_array_equal(call(module, inputs), call(module, inputs))
    assert np.abs(call(module, inputs, key=1) - call(module, inputs)).max() > 1e-5
