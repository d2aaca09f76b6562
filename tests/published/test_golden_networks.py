"""Networks, losses and gradients against reference values from the published implementation, in every mode."""

import numpy as np
import pytest
import tensorflow as tf
from golden import MODES, SETS, ham_overrides, load, official_checkpoint, relative_error

from hamgan.networks.build import build_discriminator, build_generator
from hamgan.published.convert import convert_official
from hamgan.published.names import official_name
from hamgan.runs.checkpoints import network_variables, restore
from hamgan.runs.directory import RunDirectory
from hamgan.sampling.trained_weights import find_checkpoint
from hamgan.training.losses import hinge_discriminator_loss, hinge_generator_loss

OUTPUT_TOLERANCE = 1e-4
GRADIENT_TOLERANCES = {"v1_nmf": 1e-3, "v2_cd_s2": 5e-3}
"""Relative errors; the softmax of concept decomposition amplifies rounding errors."""

ZERO_GRADIENT = 1e-5
"""Norm below which a gradient is considered zero, for biases that batch normalisation cancels."""


@pytest.fixture(scope="module", params=SETS)
def converted(request, tmp_path_factory):
    """The name of a reference checkpoint, and the two networks of the converted run."""
    out = str(tmp_path_factory.mktemp("converted") / request.param)
    config = convert_official(official_checkpoint(request.param), out, overrides=ham_overrides(request.param)).config
    networks = (build_generator(config.model), build_discriminator(config.model))
    _, path = find_checkpoint(RunDirectory(out), "latest")
    for network in networks:
        restore(path, network_variables(network), part=network.name)
    return request.param, *networks


@pytest.mark.parametrize("mode", ["eager", *(pytest.param(mode, marks=pytest.mark.slow) for mode in ("graph", "xla"))])
def test_images_logits_losses_and_gradients(converted, mode):
    name, generator, discriminator = converted
    golden = load(f"{name}/networks.npz")
    bases = tf.constant(next(value for key, value in golden.items() if key.startswith("bases0:")))
    z, labels, real, real_labels = (
        tf.constant(golden[key]) for key in ("z", "gen_labels", "real_images", "real_labels")
    )

    def run():
        outputs = {"eval_images": generator(z, labels, training=False, initial_bases=bases)}
        with tf.GradientTape(persistent=True) as tape:
            fakes = generator(z, labels, training=True, initial_bases=bases)
            real_logits = discriminator(real, real_labels, training=True, initial_bases=bases)
            fake_logits = discriminator(fakes, labels, training=True, initial_bases=bases)
            discriminator_loss = hinge_discriminator_loss(real_logits, fake_logits)
            generator_loss = hinge_generator_loss(fake_logits)
        outputs.update(train_images=fakes, d_real=real_logits, d_fake=fake_logits)
        outputs.update(d_loss=discriminator_loss, g_loss=generator_loss)
        gradients = [
            tape.gradient(loss, [variable.value for variable in network.trainable_variables])
            for loss, network in ((discriminator_loss, discriminator), (generator_loss, generator))
        ]
        return outputs, gradients

    # Training calls change the state; each mode starts from the checkpoint.
    state = [(variable, variable.numpy()) for network in (generator, discriminator) for variable in network.weights]
    outputs, gradients = MODES[mode](run)()
    for variable, value in state:
        variable.assign(value)

    for key, value in outputs.items():
        assert relative_error(value, golden[key]) <= OUTPUT_TOLERANCE, key

    expected = load(f"{name}/network_gradients.npz")
    version = "v2" if name.startswith("v2") else "v1"
    compared = set()
    for prefix, network, values in (("d", discriminator, gradients[0]), ("g", generator, gradients[1])):
        for variable, gradient in zip(network.trainable_variables, values, strict=True):
            key = f"{prefix}:{official_name(variable.path, version=version)}"
            compared.add(key)
            reference = expected[key].reshape(gradient.shape)
            if np.linalg.norm(reference) < ZERO_GRADIENT:
                assert np.linalg.norm(gradient) < ZERO_GRADIENT, key
            else:
                assert relative_error(gradient, reference) <= GRADIENT_TOLERANCES[name], key
    assert compared == expected.keys()
