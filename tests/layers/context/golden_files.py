"""Comparison of context modules with the arrays in tests/golden_context, measured on the published code."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import tensorflow as tf

GOLDEN = Path(__file__).parents[2] / "golden_context"

# Norm of the difference over norm, and the share of the largest gradient below which a gradient counts as zero.
TOLERANCES = {
    "float64": {"outputs": 1e-12, "gradients": 1e-12, "buffers": 1e-12, "zero": 1e-9},
    "float32": {"outputs": 1e-5, "gradients": 1e-4, "buffers": 1e-5, "zero": 1e-5},
}


@dataclasses.dataclass(frozen=True)
class Golden:
    """One file: images, weights and gradients in the published layout, float64."""

    x: np.ndarray
    y: np.ndarray
    dy: np.ndarray
    dx: np.ndarray
    weights: dict
    gradients: dict
    buffers_before: dict
    buffers_after: dict
    settings: dict
    others: dict
    """Further arrays, such as "mu_final"."""


def load(name):
    groups = {"w": {}, "g": {}, "buffer_before": {}, "buffer_after": {}, "": {}}
    with np.load(GOLDEN / f"{name}.npz") as file:
        settings = json.loads(str(file["settings"]))
        for key in set(file.files) - {"settings"}:
            group, _, official = key.rpartition(":")
            groups[group][official] = file[key].astype(np.float64)
    others = groups[""]
    main = {key: others.pop(key) for key in ("x", "y", "dy", "dx")}
    return Golden(
        **main,
        weights=groups["w"],
        gradients=groups["g"],
        buffers_before=groups["buffer_before"],
        buffers_after=groups["buffer_after"],
        settings=settings,
        others=others,
    )


def own_layout(value):
    """(out, in, 1, 1) becomes (1, 1, in, out); (1,) a scalar; other arrays stay as they are."""
    if value.ndim == 4:
        return value.transpose(2, 3, 1, 0)
    return value.reshape(()) if value.shape == (1,) else value


def variable(module, path):
    """The weight at a dotted path of public attributes, such as "theta.kernel"."""
    for attribute in path.split("."):
        module = getattr(module, attribute)
    return module


def split(name):
    """(path, layout) of an entry of ``names``."""
    return (name, own_layout) if isinstance(name, str) else name


def load_weights(module, golden, names):
    """Builds a module and assigns the official weights and buffers; sigma without an official one is 1."""
    module.build(golden.x.shape)
    module.sigma.assign(1.0)
    official = {**golden.weights, **golden.buffers_before}
    assert names.keys() == official.keys()
    for key, name in names.items():
        path, layout = split(name)
        weight, value = variable(module, path), layout(official[key])
        assert tuple(weight.shape) == value.shape, key
        weight.assign(value)
    return module


def relative(actual, expected):
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape
    return np.linalg.norm(actual - expected) / np.linalg.norm(expected)


def check(name, make, names, *, output=None, dtype="float64"):
    """Compares outputs, gradients and buffers of a module with a golden file.

    Args:
        name: name of the file.
        make: function that creates the module from its ``dtype``; ``sigma`` is 1 unless ``names`` has it.
        names: the dotted path of our weight for each official weight and buffer, or (path, function to our layout).
        output: function of (module, inputs, training) that gives the golden output; by default, a call.
        dtype: "float64" or "float32".
    """
    golden, tolerance = load(name), TOLERANCES[dtype]
    module = load_weights(make(dtype=dtype), golden, names)
    training = golden.settings["training"]
    x, dy = tf.constant(golden.x, dtype), tf.constant(golden.dy, dtype)
    trained = {key: split(names[key]) for key in golden.weights}
    sources = {key: variable(module, path).value for key, (path, _) in trained.items()}
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = module(x, training=training) if output is None else output(module, x, training)
    dx, gradients = tape.gradient(y, (x, sources), dy, unconnected_gradients="zero")
    assert y.dtype == dtype
    assert relative(y, golden.y) < tolerance["outputs"]
    if np.abs(golden.dx).max() > 0:
        assert relative(dx, golden.dx) < tolerance["outputs"]
    else:
        assert np.abs(dx).max() == 0

    largest = max((np.abs(value).max() for value in golden.gradients.values()), default=0.0)
    without = set(golden.settings["parameters_without_gradient"])
    assert golden.gradients.keys() | without == golden.weights.keys()
    for key, (_, layout) in trained.items():
        expected = layout(golden.gradients.get(key, np.zeros_like(golden.weights[key])))
        if np.abs(expected).max() < 1e-9 * largest or not largest:
            assert np.abs(gradients[key]).max() <= tolerance["zero"] * largest, key
        else:
            assert relative(gradients[key], expected) < tolerance["gradients"], key

    for key, expected in golden.buffers_after.items():
        path, layout = split(names[key])
        assert relative(variable(module, path), layout(expected)) < tolerance["buffers"], key
