"""Reference values from the published implementation, and the modes in which tests compare with them."""

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

GOLDEN = pathlib.Path(__file__).parent.parent / "golden"
SETS = ("v1_nmf", "v2_cd_s2")

MODES: dict[str, Callable[[Callable], Callable]] = {
    "eager": lambda function: function,
    "graph": tf.function,
    "xla": lambda function: tf.function(function, jit_compile=True),
}


def load(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / name) as arrays:
        return dict(arrays)


def official_checkpoint(name: str) -> str:
    return str(GOLDEN / name / "official" / "model.ckpt-1234")


def ham_overrides(name: str) -> list[str]:
    """Overrides with the settings that a checkpoint does not record."""
    arrays = load(f"{name}/networks.npz")
    settings = {
        "ham": str(arrays["ham_type"]).lower(),
        "rank": int(arrays["r"]),
        "num_steps": int(arrays["steps"]),
        "num_sections": int(arrays["S"]),
    }
    return [
        f"model.{network}.context.0.{field}={value}"
        for network in ("generator", "discriminator")
        for field, value in settings.items()
    ]


def relative_error(actual: Any, expected: Any) -> float:
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))
