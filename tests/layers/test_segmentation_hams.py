"""Hams with the settings of HamNet and LightHamHead, compared with reference values of the published code."""

from pathlib import Path

import float64_reference as reference
import numpy as np
import pytest
import tensorflow as tf

from hamgan.layers.hams import HAMS

GOLDEN = Path(__file__).parent.parent / "golden_seg"
ONE_STEP = [
    *("ham_nmf", "ham_nmf_s2", "ham_nmf_channel"),
    *("ham_cd_t10", "ham_cd_t100_s2", "ham_cd_channel"),
    *("ham_vq_t10", "ham_vq_t100_s2", "ham_vq_channel"),
]
MODES = ["eager", "graph", pytest.param("xla", marks=pytest.mark.slow)]


def load(name):
    with np.load(GOLDEN / f"{name}.npz") as file:
        return dict(file)


def own_settings(golden):
    """The name of the ham and its specific settings."""
    ham = str(golden.get("ham", "NMF")).lower()
    if ham == "nmf":
        return ham, {"rectify": False, "normalize_bases": True}
    ridge = {"ridge": float(golden["ridge"])} if ham == "cd" else {}
    return ham, {"inverse_temperature": float(golden["inv_t"]), **ridge}


def golden_layer(golden, **settings):
    ham, own = own_settings(golden)
    layer = HAMS[ham](
        rank=int(golden["R"]),
        num_steps=int(golden["train_steps"]),
        evaluation_steps=int(golden["eval_steps"]),
        num_sections=int(golden["S"]),
        **own,
        **settings,
    )
    images = golden["y_train" if "y_train" in golden else "y_0"]
    layer.build(to_matrices(golden, images).shape)
    return layer


def to_matrices(golden, images):
    """Reshapes ``(batch, height, width, sections * dim)`` to ``(batch * sections, positions, dim)``."""
    batch, height, width, channels = images.shape
    sections = int(golden["S"])
    split = tf.reshape(images, (batch, height * width, sections, channels // sections))
    by_position = golden.get("spatial", True)
    split = tf.transpose(split, (0, 2, 1, 3) if by_position else (0, 2, 3, 1))
    return tf.reshape(split, (batch * sections, *split.shape[2:]))


def outputs_and_gradient(layer, golden, training):
    x, upstream = (to_matrices(golden, golden[key]) for key in ("x", "dy"))
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = layer(x, initial_bases=golden["bases0"], training=training)
    return outputs, tape.gradient(outputs, x, upstream)


def compiled(function, mode):
    return function if mode == "eager" else tf.function(function, jit_compile=mode == "xla")


@pytest.mark.parametrize("name", [*ONE_STEP, "ham_nmf_unrolled"])
@pytest.mark.parametrize("mode", MODES)
def test_ham_matches_the_published_code(name, mode):
    golden = load(name)
    layer = golden_layer(golden, gradient="unrolled" if "unrolled" in name else "one_step")
    for phase, training in (("train", True), ("eval", False)):

        def run(training=training):
            return outputs_and_gradient(layer, golden, training)

        outputs, gradient = compiled(run, mode)()
        assert reference.relative_error(outputs, to_matrices(golden, golden[f"y_{phase}"])) < 1e-5
        # The softmax of vector quantisation amplifies rounding errors at t = 100.
        tolerance = 1e-3 if name == "ham_vq_t100_s2" else 1e-5
        assert reference.relative_error(gradient, to_matrices(golden, golden[f"dx_{phase}"])) < tolerance


def test_the_two_gradients_differ():
    golden = load("ham_nmf_unrolled")
    _, gradient = outputs_and_gradient(golden_layer(golden), golden, True)
    assert reference.relative_error(gradient, to_matrices(golden, golden["dx_train"])) > 0.1


@pytest.mark.parametrize("name", ["online_cd", "online_vq"])
@pytest.mark.parametrize("mode", MODES)
def test_running_bases_match_the_published_code(name, mode):
    """The published code updates them in evaluation, ours in training, here with the number of evaluation steps."""
    golden = load(name)
    # In float32, XLA's rounding errors of vector quantisation grow from call to call: up to 1.6e-5 on some CPUs.
    dtype = "float64" if (name, mode) == ("online_vq", "xla") else "float32"
    settings = {"bases_momentum": 1 - float(golden["eta"]), "dtype": dtype}
    layer = golden_layer(golden, bases="running", evaluation_bases="running", **settings)
    layer.num_steps = int(golden["eval_steps"])
    layer.running_bases.assign(golden["bases_0"])

    def train(x):
        return layer(to_matrices(golden, x), training=True)

    call = compiled(train, mode)
    for index in range(3):
        np.testing.assert_allclose(layer.running_bases, golden[f"bases_{index}"], rtol=0, atol=2e-6)
        x = tf.constant(golden[f"x_{index}"], dtype)
        evaluated = layer(to_matrices(golden, x))
        np.testing.assert_allclose(layer.running_bases, golden[f"bases_{index}"], rtol=0, atol=2e-6)
        outputs = call(x)
        for actual in (evaluated, outputs):
            assert reference.relative_error(actual, to_matrices(golden, golden[f"y_{index}"])) < 1e-5
    assert reference.relative_error(layer.running_bases, golden["bases_3"]) < 1e-5
    assert reference.relative_error(golden["bases_3"], golden["bases_0"]) > 0.1


@pytest.mark.parametrize("name", ["online_cd", "online_vq"])
def test_training_starts_from_the_running_bases(name):
    golden = load(name)
    layer = golden_layer(golden, bases="running")
    layer.running_bases.assign(golden["bases_0"])
    outputs = layer(to_matrices(golden, golden["x_0"]), training=True)
    assert reference.relative_error(outputs, to_matrices(golden, golden["y_train_0"])) < 1e-5
