"""Statistics over the seeds of an arm."""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

import scipy.stats

CONFIDENCE = 0.95
SMALLEST_TEST = 5
"""Number of seeds from which arms are tested."""


class Summary(NamedTuple):
    """Mean and spread over seeds.

    Args:
        mean: mean.
        deviation: standard deviation with n - 1, NaN for one seed.
        margin: half width of the confidence interval of the mean, of Student's t; NaN for one seed.
        count: number of seeds n.
    """

    mean: float
    deviation: float
    margin: float
    count: int


class Comparison(NamedTuple):
    """Paired differences between two arms, and their t-test.

    Args:
        difference: summary of the differences.
        p_value: two-sided p value of the paired t-test that the mean difference is 0.
    """

    difference: Summary
    p_value: float


def summary(values: Sequence[float]) -> Summary:
    """Returns mean and spread of the values of different seeds."""
    count, mean = len(values), statistics.fmean(values)
    if count < 2:
        return Summary(mean, math.nan, math.nan, count)
    deviation = statistics.stdev(values)
    quantile = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, count - 1))
    return Summary(mean, deviation, quantile * deviation / math.sqrt(count), count)


def paired_comparison(values: Sequence[float], baseline: Sequence[float]) -> Comparison:
    """Compares an arm with a baseline.

    Args:
        values: scores of the arm.
        baseline: scores of the baseline with the same seeds, in the same order.
    """
    differences = [value - other for value, other in zip(values, baseline, strict=True)]
    p_value = float(scipy.stats.ttest_rel(values, baseline).pvalue)
    return Comparison(summary(differences), p_value)


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns p values adjusted for the number of tests.

    Reference: Holm, A Simple Sequentially Rejective Multiple Test Procedure (Scandinavian Journal of Statistics 1979).
    """
    count = len(p_values)
    adjusted = [0.0] * count
    largest = 0.0
    for rank, index in enumerate(sorted(range(count), key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, (count - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
