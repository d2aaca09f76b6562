"""When training collapses: what is not finite, and what the networks looked like before."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from hamgan.errors import FailedError
from hamgan.training.step import StepsTaken

LARGEST_SHOWN = 3
"""Singular values in the message; the record has all."""


class TrainingDivergedError(FailedError):
    """A loss or a weight is not finite; nothing of the steps since the last checkpoint is kept."""


def describe_collapse(taken: StepsTaken, step: int, singular_values: Mapping[str, float]) -> dict[str, Any] | None:
    """Returns what is wrong after some steps, or None if all is finite.

    Args:
        taken: what the train function returned.
        step: the number of steps taken, these included.
        singular_values: the largest of each layer, by name, when all was well for the last time.

    Returns:
        Plain values for JSON: "step", the first that was not finite; "values", its losses and gradient norms;
        "singular_values"; and "what", a sentence.
    """
    failed = int(taken.failed_step.numpy())
    if failed < 0 and bool(taken.weights_are_finite.numpy()):
        return None
    if failed >= 0:
        values = {name: _plain(value.numpy()) for name, value in taken.failed_metrics.items()}
        wrong = [name for name, value in values.items() if isinstance(value, str)]
        what = f"{wrong[0]} is {values[wrong[0]]} at step {failed}"
    else:
        values = {name: _plain(value.numpy()) for name, value in taken.metrics.items()}
        failed = step
        what = f"a weight is not finite after step {step}, while the losses are"
    shown = ", ".join(f"{name} {value if isinstance(value, str) else f'{value:.4g}'}" for name, value in values.items())
    largest = sorted(singular_values.items(), key=lambda item: -item[1])[:LARGEST_SHOWN]
    layers = ", ".join(f"{name} {value:.4g}" for name, value in largest)
    return {
        "step": failed,
        "what": f"{what} ({shown}; largest singular values before: {layers})",
        "values": values,
        "singular_values": {name: _plain(value) for name, value in singular_values.items()},
    }


def _plain(value: np.floating | float) -> float | str:
    """A number as JSON has it; "nan", "inf" or "-inf" else."""
    return float(value) if math.isfinite(value) else str(float(value))
