"""Layers and functions against reference values from the published implementation."""

import numpy as np
import pytest
import tensorflow as tf
from golden import MODES, load, relative_error

from hamgan.data.preprocessing import preprocess
from hamgan.layers import (
    ConditionalBatchNormalization,
    SelfAttention,
    SNConv2D,
    concept_decomposition,
    nmf,
)

TOLERANCE = 1e-5
all_modes = pytest.mark.parametrize("mode", ["eager", "graph", pytest.param("xla", marks=pytest.mark.slow)])


def _value_and_gradient(function, mode, inputs, upstream):
    def run(x, dy):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        return y, tape.gradient(y, x, dy)

    return MODES[mode](run)(tf.constant(inputs), tf.constant(upstream))


@all_modes
@pytest.mark.parametrize("name", ["nmf_K1", "nmf_K6", "cd_K1", "cd_K6"])
def test_decomposition(name, mode):
    golden = load(f"units/{name}.npz")
    decompose = {"nmf": nmf, "cd": concept_decomposition}[name.split("_")[0]]
    transposed = {key: np.swapaxes(golden[key], 1, 2) for key in ("x", "y", "dx", "dy")}

    def run(x):
        return decompose(x, tf.constant(golden["bases0"]), num_steps=int(golden["steps"]))

    y, dx = _value_and_gradient(run, mode, transposed["x"], transposed["dy"])
    assert relative_error(y, transposed["y"]) <= TOLERANCE
    assert relative_error(dx, transposed["dx"]) <= TOLERANCE


@all_modes
@pytest.mark.parametrize(("rule", "norm_floor"), [("eq", 0.0), ("max1", 1.0)])
@pytest.mark.parametrize("size", ["big", "small"])
def test_spectral_normalization(rule, norm_floor, size, mode):
    golden = load("units/spectral_norm.npz")
    weights = golden["w"] * (golden["scale_small"] if size == "small" else 1.0)
    kernel_size, _, in_channels, filters = weights.shape
    layer = SNConv2D(filters, kernel_size, norm_floor=norm_floor)
    layer.build((None, None, None, in_channels))
    layer.u.assign(golden["u"])
    layer.kernel.assign(weights.astype(np.float32))

    def run(upstream):
        with tf.GradientTape() as tape:
            normalized = layer.normalized_kernel(training=True)
        return normalized, tape.gradient(normalized, layer.kernel.value, upstream)

    normalized, gradient = MODES[mode](run)(tf.constant(golden["dw_bar"]))
    assert relative_error(normalized, golden[f"w_bar_{size}_{rule}"]) <= TOLERANCE
    assert relative_error(gradient, golden[f"dw_{size}_{rule}"]) <= TOLERANCE
    if size == "big":
        assert relative_error(layer.u, golden["u_new"]) <= TOLERANCE


@all_modes
def test_conditional_batch_normalization(mode):
    golden = load("units/conditional_batch_norm.npz")
    num_classes = golden["gamma"].shape[0]
    layer = ConditionalBatchNormalization(num_classes)
    layer.build((None, *golden["x"].shape[1:]))
    layer.gamma.assign(golden["gamma"].reshape(layer.gamma.shape))
    layer.beta.assign(golden["beta"].reshape(layer.beta.shape))
    layer.moving_mean.assign(golden["moving_mean"])
    layer.moving_variance.assign(golden["moving_variance"])
    inputs = tf.constant(golden["x"]), tf.constant(golden["labels"])
    evaluated = MODES[mode](lambda x, labels: layer(x, labels, training=False))(*inputs)
    assert relative_error(evaluated, golden["y_eval"]) <= TOLERANCE
    trained = MODES[mode](lambda x, labels: layer(x, labels, training=True))(*inputs)
    assert relative_error(trained, golden["y_train"]) <= TOLERANCE
    assert relative_error(layer.moving_mean, golden["moving_mean_new"]) <= TOLERANCE
    assert relative_error(layer.moving_variance, golden["moving_variance_new"]) <= TOLERANCE


@all_modes
def test_self_attention(mode):
    golden = load("units/self_attention.npz")
    layer = SelfAttention()
    layer.build((None, *golden["x"].shape[1:]))
    for ours, theirs in (("theta", "theta"), ("phi", "phi"), ("g", "g"), ("attend", "attn")):
        weights = f"var:sn_conv_{theirs}/weights"
        getattr(layer, ours).kernel.assign(golden[weights])
        getattr(layer, ours).u.assign(golden[f"{weights}/spectral_normalize/spectral_norm/spectral_norm_u"])
    layer.sigma.assign(golden["var:sigma_ratio"])
    y, dx = _value_and_gradient(lambda x: layer(x, training=False), mode, golden["x"], golden["dy"])
    assert relative_error(y, golden["y"]) <= TOLERANCE
    assert relative_error(dx, golden["dx"]) <= TOLERANCE


# Without XLA, which has no kernel for crop_and_resize; the input pipeline runs on the host.
@pytest.mark.parametrize("mode", ["eager", "graph"])
@pytest.mark.parametrize("index", range(5))
def test_preprocessing(index, mode):
    golden = load("units/preprocess128.npz")
    result = MODES[mode](lambda image: preprocess(image, 128))(tf.constant(golden[f"in{index}"]))
    assert relative_error(result, golden[f"out{index}"]) <= TOLERANCE
