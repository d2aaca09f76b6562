"""Comparison of an exported generator with the Keras model, and its time per image."""

import os
import statistics
import time
from collections.abc import Callable

import numpy as np

from hamgan import random_streams
from hamgan.errors import FailedError
from hamgan.networks import Generator
from hamgan.random_streams import Purpose
from hamgan.sampling.export.model_format import GenerateFunction

TOLERANCE = 1e-4
"""Largest difference between images in [-1, 1] of an exported generator and of the Keras model."""
BATCHES = (1, 3, 8)
"""Batch sizes of the comparison."""
TIMED_BATCHES = (1, 8)
TIMED_CALLS = 5


def largest_difference(generate: GenerateFunction, generator: Generator) -> float:
    """Returns the largest difference of an exported generator's images from those of the Keras model.

    Args:
        generate: the exported generator.
        generator: the Keras model.

    Returns:
        The maximum of the absolute difference over random inputs of several batch sizes, for images in [-1, 1].
    """
    differences = []
    for z, labels in _inputs(generator, BATCHES):
        # The exported generator is called first: with random bases, both then draw the same ones.
        images = generate(z, labels)
        expected = generator(z, labels, training=False).numpy()
        if images.shape != expected.shape:
            return float("inf")
        differences.append(float(np.abs(images - expected).max()))
    # Not max(), which ignores NaN.
    return float(np.max(differences))


def check_difference(difference: float, title: str, what: str = "images", tolerance: float = TOLERANCE) -> None:
    """Checks that a difference is small enough.

    Args:
        difference: largest difference.
        title: title of the format.
        what: what the model computes, in the plural.
        tolerance: largest difference to accept.

    Raises:
        FailedError: if it is not.
    """
    if not difference <= tolerance:
        raise FailedError(
            f"{title}: {what} differ from those of the Keras model by {difference:.2g}, expected at most "
            f"{tolerance:.2g}; nothing was written"
        )


def seconds_per_image(generate: GenerateFunction, generator: Generator) -> dict[int, float]:
    """Returns the time per image in seconds by batch size: the median of several calls after a first one."""
    seconds = {}
    for z, labels in _inputs(generator, TIMED_BATCHES):
        seconds[len(z)] = median_seconds(lambda z=z, labels=labels: generate(z, labels)) / len(z)  # type: ignore[misc]
    return seconds


def median_seconds(call: Callable[[], object]) -> float:
    """Returns the median time of several calls of a function, after a first one, in seconds."""
    call()
    times = []
    for _ in range(TIMED_CALLS):
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def _inputs(generator: Generator, batches: tuple[int, ...]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns random z and labels of each batch size."""
    key = random_streams.fold(0, Purpose.SAMPLES)
    drawn = [generator.draw_inputs(key, first=sum(batches[:index]), count=count) for index, count in enumerate(batches)]
    return [(inputs.z.numpy(), inputs.labels.numpy()) for inputs in drawn]


def size_in_bytes(path: str) -> int:
    """Returns the size of a file, or of all files of a folder."""
    if os.path.isfile(path):
        return os.path.getsize(path)
    return sum(os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(path) for name in names)
