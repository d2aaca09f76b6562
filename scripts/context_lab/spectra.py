"""Singular values of feature maps before and after a network's context modules."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from hamgan import random_streams
from hamgan.networks.network import Network
from hamgan.random_streams import Purpose
from hamgan.sampling.trained import Run

IMAGES = 256
BATCH = 64
SEED = 0
DIGITS = 5


def relative_singular_values(maps: np.ndarray) -> np.ndarray:
    """Returns the singular values of feature maps, relative to the largest of each map.

    Args:
        maps: feature maps, shape ``(n, height, width, channels)``; each is a matrix of positions times channels.

    Returns:
        float64, shape ``(n, min(height * width, channels))``, descending; zeros for a map of zeros.
    """
    matrices = maps.astype(np.float64).reshape(len(maps), -1, maps.shape[-1])
    values = np.linalg.svd(matrices, compute_uv=False)
    largest = values[:, :1]
    return np.divide(values, largest, out=np.zeros_like(values), where=largest > 0)


def effective_rank(values: np.ndarray) -> np.ndarray:
    """Returns exp(H(p)), the exponential of the entropy of p = values / sum(values).

    Args:
        values: singular values, shape ``(..., k)``, not all 0; their scale does not matter.

    Reference: Roy and Vetterli, The effective rank: a measure of effective dimensionality (EUSIPCO 2007).
    """
    shares = values / values.sum(axis=-1, keepdims=True)
    logarithms = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return np.exp(-(shares * logarithms).sum(axis=-1))


def spectrum(maps: np.ndarray) -> dict[str, Any]:
    """Returns the "singular_values", mean over the maps, and the mean "effective_rank"."""
    values = relative_singular_values(maps)
    return {
        "singular_values": np.round(values.mean(axis=0), DIGITS).tolist(),
        "effective_rank": round(float(effective_rank(values[values[:, 0] > 0]).mean()), DIGITS),
    }


@contextlib.contextmanager
def recorded_outputs(layer: keras.Layer) -> Iterator[list[np.ndarray]]:
    """Yields a list that receives the output of each eager call of a layer."""
    outputs: list[np.ndarray] = []
    original = layer.call

    def call(*arguments: Any, **options: Any) -> Any:
        result = original(*arguments, **options)
        outputs.append(result.numpy())
        return result

    layer.call = call
    try:
        yield outputs
    finally:
        del layer.call  # of the instance; the method is visible again


class _Recorder:
    """Records the feature maps of one resolution before and after the context modules there."""

    def __init__(self, network: Network, resolution: int, stack: contextlib.ExitStack) -> None:
        modules = [
            module
            for module, settings in zip(network.context, network.context_arguments, strict=True)
            if settings["resolution"] == resolution
        ]
        self._blocks = [stack.enter_context(recorded_outputs(block)) for block in network.blocks]
        self._after = stack.enter_context(recorded_outputs(modules[-1])) if modules else None
        self._resolution = resolution

    def maps(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the maps before and after; the same without a module."""
        before = next(np.concatenate(outputs) for outputs in self._blocks if outputs[0].shape[1] == self._resolution)
        return before, before if self._after is None else np.concatenate(self._after)


def run_spectra(run: Run, resolutions: dict[str, int]) -> dict[str, Any]:
    """Returns the spectra of a run's networks in evaluation mode, for generated images of a fixed seed.

    Args:
        run: trained run; the generator has the weights that samples use, such as the moving average.
        resolutions: resolution of the feature maps of "generator" and "discriminator".

    Returns:
        For each network, :func:`spectrum` "before" and "after" the context modules, and of what they "added".
    """
    generator, discriminator = run.generator, run.discriminator
    key = random_streams.fold(SEED, Purpose.SAMPLES)
    with contextlib.ExitStack() as stack:
        recorders = {
            name: _Recorder(network, resolutions[name], stack)
            for name, network in (("generator", generator), ("discriminator", discriminator))
        }
        for first in range(0, IMAGES, BATCH):
            inputs = generator.draw_inputs(key, first=first, count=BATCH, class_counts=run.class_counts)
            bases = discriminator.draw_initial_bases(key, Purpose.DISCRIMINATOR_BASES_FAKE, first=first, count=BATCH)
            discriminator(generator(*inputs, training=False), inputs.labels, bases, training=False)
        found = {}
        for name, recorder in recorders.items():
            before, after = recorder.maps()
            found[name] = {"before": spectrum(before), "after": spectrum(after)}
            if (after != before).any():
                found[name]["added"] = spectrum(after - before)
    return found
