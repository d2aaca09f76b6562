"""Reference values of the published segmentation code, see tests/golden_seg."""

from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parent.parent / "golden_seg"


def load_golden(name):
    with np.load(GOLDEN / f"{name}.npz") as file:
        return dict(file)


def relative_error(found, expected):
    """Norm of the difference over norm."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert found.shape == expected.shape
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)
