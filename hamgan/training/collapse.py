"""Description of a collapse: which values are not finite, and the state of the networks before."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from hamgan.errors import FailedError
from hamgan.training.train_function import StepsTaken

LARGEST_SHOWN = 3
"""Singular values in the message; the record has all."""


class TrainingDivergedError(FailedError):
    """A loss or a weight is not finite. The steps since the last checkpoint are lost."""


def describe_collapse(taken: StepsTaken, step: int, singular_values: Mapping[str, float]) -> dict[str, Any] | None:
    """Describes a collapse during some steps; returns None if everything is finite.

    Args:
        taken: result of the train function.
        step: number of steps taken, including these.
        singular_values: largest singular value of each layer, by name, before these steps.

    Returns:
        JSON values: "step" (the first that was not finite), "values" (its losses and gradient norms), "singular_values"
        and "what" (a description).
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
    before = f"; largest singular values before: {layers}" if layers else ""
    return {
        "step": failed,
        "what": f"{what} ({shown}{before})",
        "values": values,
        "singular_values": {name: _plain(value) for name, value in singular_values.items()},
    }


def _plain(value: np.floating | float) -> float | str:
    """Returns a number as JSON can hold it: as text if it is not finite."""
    return float(value) if math.isfinite(value) else str(float(value))
