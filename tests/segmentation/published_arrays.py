"""Arrays measured on the published code, and its recipe for reproducible weights."""

import zlib
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parent.parent / "golden_seg"


def load(name):
    with np.load(GOLDEN / f"{name}.npz") as file:
        return dict(file)


def with_prefix(golden, prefix):
    return {name.removeprefix(prefix): value for name, value in golden.items() if name.startswith(prefix)}


def relative_error(actual, expected):
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape
    return np.linalg.norm(actual - expected) / np.linalg.norm(expected)


def gradient_errors(gradients, expected):
    """Relative error of each gradient, by name; gradients that are zero up to rounding are left out."""
    largest = max(np.linalg.norm(value) for value in expected.values())
    assert set(gradients) == set(expected)
    return {
        name: relative_error(gradients[name], value)
        for name, value in expected.items()
        if np.linalg.norm(value) > 1e-5 * largest
    }


def weight_by_recipe(name, shape):
    values = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    if name.endswith("running_var"):
        values = np.exp(0.2 * values)
    elif name.endswith(("running_mean", "bias")):
        values = 0.1 * values
    elif "coef_" in name:
        values = np.full(shape, 0.7)
    elif len(shape) < 2:
        values = (1 + 0.1 * values) * (0.3 if name.endswith("bn3.weight") else 1)
    else:
        values = values * np.sqrt(2 / np.prod(shape[1:]))
    return values.astype(np.float32)


def probe(name, shape):
    return np.random.RandomState(zlib.crc32(f"probe:{name}".encode())).standard_normal(shape)


def state_dict_shapes(name):
    """Shape of each tensor of a published checkpoint, by name."""
    lines = (GOLDEN / f"state_dict_{name}.txt").read_text().splitlines()
    pairs = (line.split(" ") for line in lines)
    return {key: tuple(int(size) for size in shape.split(",") if size) for key, shape in pairs}
