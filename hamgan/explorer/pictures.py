"""The pictures of an explorer: samples, interpolations, directions and nearest training images of some classes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from hamgan import random_streams
from hamgan.evaluation.memorization import NearestTrainingImages, nearest_training_images
from hamgan.random_streams import Purpose
from hamgan.sampling.directions import direction_strip, find_directions
from hamgan.sampling.grids import to_uint8
from hamgan.sampling.interpolation import interpolate
from hamgan.sampling.trained import Run

TRUNCATIONS = (0.25, 0.5, 1.0, None)
SAMPLES = 24
"""Number of samples of a class, at each truncation."""
SEEDS = 4
"""Number of latent vectors on the path of a class."""
FRAMES = 8
"""Number of frames from one latent vector, or class, to the next."""
DIRECTIONS = 5
DIRECTION_ROWS = 4
"""Number of samples that move along a direction."""
NEIGHBORS = 5
NEIGHBOR_ROWS = 6
"""Largest number of samples of a class with nearest training images."""


class Neighbors(NamedTuple):
    """Samples of a class and their nearest training images.

    Args:
        samples: samples, uint8, shape ``(n, resolution, resolution, channels)``.
        nearest: training images, row by row, shape ``(n * k, resolution, resolution, channels)``.
        distances: distances in feature space, shape ``(n, k)``.
    """

    samples: np.ndarray
    nearest: np.ndarray
    distances: np.ndarray


class Pictures(NamedTuple):
    """Pictures, uint8, by index of the class.

    Args:
        samples: samples at each of ``TRUNCATIONS``, for each class.
        latent_frames: a loop through latent vectors, for each class.
        class_frames: the way from each class to the next, and from the last to the first.
        directions: pictures along each direction, for each class: rows of ``STEPS`` pictures.
        neighbors: nearest training images, for each class; empty if they are left out.
    """

    samples: list[list[np.ndarray]]
    latent_frames: list[np.ndarray]
    class_frames: list[np.ndarray]
    directions: list[list[np.ndarray]]
    neighbors: list[Neighbors]


def make_pictures(run: Run, labels: Sequence[int], *, seed: int, nearest: NearestTrainingImages | None) -> Pictures:
    """Generates all pictures.

    Args:
        run: run with a trained generator.
        labels: labels of the classes to show.
        seed: seed of the latent vectors, in [0, 2^31).
        nearest: nearest training images of samples of these classes; None leaves them out.
    """
    directions = find_directions(run, num=min(DIRECTIONS, run.generator.z_dim), seed=seed).directions
    work = len(labels) * (len(TRUNCATIONS) + 1 + len(directions)) + (len(labels) > 1)
    with tqdm(total=work, desc="Pictures", unit="sheet", leave=False) as progress:

        def counted(images: np.ndarray) -> np.ndarray:
            progress.update()
            return images

        samples = [
            [counted(_samples(run, index, label, seed, truncation)) for index, label in enumerate(labels)]
            for truncation in TRUNCATIONS
        ]
        seeds = [(seed + index) % 2**31 for index in range(SEEDS)]
        latent_frames = [counted(interpolate(run, [label], seeds=seeds, frames=FRAMES, loop=True)) for label in labels]
        class_frames: list[np.ndarray] = []
        if len(labels) > 1:
            loop = counted(interpolate(run, labels, seeds=[seed], frames=FRAMES, loop=True))
            class_frames = np.split(loop, len(labels))
        along = [
            [counted(direction_strip(run, direction, classes=[label] * DIRECTION_ROWS, seed=seed)) for label in labels]
            for direction in directions
        ]
    neighbors = [] if nearest is None else [_neighbors_of(label, nearest) for label in labels]
    return Pictures(samples, latent_frames, class_frames, along, neighbors)


def find_nearest(
    run: Run,
    labels: Sequence[int],
    *,
    seed: int,
    classifier: str | None,
    data_dir: str | None,
    cache_dir: str | None,
) -> NearestTrainingImages:
    """Finds nearest training images of samples of each class; see :func:`nearest_training_images`."""
    count = NEIGHBOR_ROWS * len(labels)
    return nearest_training_images(
        run,
        num=count,
        neighbors=NEIGHBORS,
        rows=count,
        classes=labels,
        seed=seed,
        classifier=classifier,
        data_dir=data_dir,
        cache_dir=cache_dir,
    )


def _samples(run: Run, index: int, label: int, seed: int, truncation: float | None) -> np.ndarray:
    """Generates the samples of a class, eagerly: compiling would take longer for each truncation."""
    inputs = run.generator.draw_inputs(
        random_streams.fold(seed, Purpose.SAMPLES),
        first=index * SAMPLES,
        count=SAMPLES,
        labels=tf.fill((SAMPLES,), label),
        truncation=truncation,
    )
    return to_uint8(run.generator(*inputs, training=False).numpy())


def _neighbors_of(label: int, nearest: NearestTrainingImages) -> Neighbors:
    rows = np.flatnonzero(nearest.labels == label)[:NEIGHBOR_ROWS]
    return Neighbors(
        np.stack([nearest.images[row] for row in rows.tolist()]),
        np.stack([nearest.training_images[index] for index in nearest.indices[rows].ravel().tolist()]),
        nearest.distances[rows],
    )
