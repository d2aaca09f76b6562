"""Images on a path through the latent space and through mixtures of classes."""

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from hamgan import random_streams
from hamgan.errors import UserError
from hamgan.networks import Generator
from hamgan.networks.inputs import GeneratorInputs
from hamgan.random_streams import Purpose
from hamgan.sampling.grids import to_uint8
from hamgan.sampling.latents import Latents

if TYPE_CHECKING:
    from hamgan.sampling.trained import Run

_TINY = 1e-12
_SHORT_WORK = 2.0
"""Seconds of work that show no progress."""


def slerp(start: np.ndarray, end: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Interpolates spherically: the direction turns at constant speed, and the norm changes linearly.

    ``((1 - s) |a| + s |b|) (cos(s t) u + sin(s t) v)``, with the angle t between a and b, the direction u of a, and v
    perpendicular to u in the plane of both. Standard normal vectors of many dimensions have almost the same norm; the
    straight line between two of them passes through shorter, untypical vectors.

    Args:
        start: vector a, float, shape ``(dimensions,)``.
        end: vector b, float, shape ``(dimensions,)``. If it is opposite to a, the path turns through an arbitrary but
            fixed perpendicular direction. If a or b is zero, the path is a straight line.
        shares: shares s of the way, float, shape ``(n,)``.

    Returns:
        Vectors, float64, shape ``(n, dimensions)``.

    Reference: Shoemake, Animating Rotation with Quaternion Curves (SIGGRAPH 1985), section 3.3, written with a
    perpendicular vector, which needs no exception for nearly parallel vectors.

    Example:
        >>> import numpy as np
        >>> from hamgan.sampling.interpolation import slerp
        >>> slerp(np.array([1.0, 0.0]), np.array([0.0, 3.0]), np.array([0.0, 0.5, 1.0])).round(3).tolist()
        [[1.0, 0.0], [1.414, 1.414], [0.0, 3.0]]
    """
    start, end = (np.asarray(vector, np.float64) for vector in (start, end))
    shares = np.asarray(shares, np.float64)[:, np.newaxis]
    from_norm, to_norm = np.linalg.norm(start), np.linalg.norm(end)
    if min(from_norm, to_norm) < _TINY:
        return (1 - shares) * start + shares * end
    first, last = start / from_norm, end / to_norm
    angle = 2 * np.arctan2(np.linalg.norm(first - last), np.linalg.norm(first + last))
    across = last - (first @ last) * first
    if np.linalg.norm(across) < _TINY:
        axis = np.eye(len(first))[np.abs(first).argmin()]
        across = axis - (first @ axis) * first
    across /= np.linalg.norm(across)
    directions = np.cos(shares * angle) * first + np.sin(shares * angle) * across
    return ((1 - shares) * from_norm + shares * to_norm) * directions


def latent_path(key_points: Latents, *, frames: int, loop: bool = False) -> Latents:
    """Returns inputs on the path through key points: spherical in z, linear in the class weights.

    Args:
        key_points: inputs of k images.
        frames: number of frames from one key point to the next, without the latter.
        loop: whether the path returns to the first key point. The frame at its end, which would repeat the first, is
            left out.

    Returns:
        Inputs of ``(k - 1) * frames + 1`` images, or of ``k * frames`` images of a loop.

    Example:
        >>> import numpy as np
        >>> from hamgan.sampling.interpolation import latent_path
        >>> from hamgan.sampling.latents import Latents
        >>> path = latent_path(Latents(z=np.ones((2, 12)), class_weights=np.eye(10)[[3, 7]]), frames=4)
        >>> path.class_weights[:, 3].tolist()
        [1.0, 0.75, 0.5, 0.25, 0.0]
    """
    z, weights = key_points
    shares = np.arange(frames) / frames
    ends = [*range(1, len(z)), *([0] if loop else [])]
    path_of_z = [slerp(z[start], z[end], shares) for start, end in enumerate(ends)]
    column = shares[:, np.newaxis]
    path_of_weights = [(1 - column) * weights[start] + column * weights[end] for start, end in enumerate(ends)]
    if not loop:
        path_of_z.append(z[-1:])
        path_of_weights.append(weights[-1:])
    return Latents(
        z=np.concatenate(path_of_z).astype(np.float32),
        class_weights=np.concatenate(path_of_weights).astype(np.float32),
    )


def interpolate(
    run: "Run",
    classes: Sequence[int | str] | None = None,
    *,
    seeds: Sequence[int] = (0,),
    latents: Latents | None = None,
    frames: int = 24,
    loop: bool = False,
    truncation: float | None = None,
    rows: int = 1,
    batch: int = 50,
) -> np.ndarray:
    """Generates the frames of an interpolation; see :meth:`hamgan.Run.interpolate`."""
    _check(seeds, latents, frames, truncation, rows, batch)
    if classes is not None:
        weights = np.eye(run.config.model.num_classes, dtype=np.float32)[run.labels(classes)]
    elif latents is not None:
        weights = latents.class_weights
    else:
        raise UserError("expected classes or latents as key points, found neither")
    count = len(seeds) if latents is None else len(latents.z)
    key_points = max(count, len(weights))
    if key_points < 2 or {count, len(weights)} - {1, key_points}:
        source = "seeds" if latents is None else "latent vectors"
        raise UserError(
            f"expected at least two key points, as many classes as {source} or one of either, found {len(weights)} and "
            f"{count}"
        )
    weights = np.resize(weights, (key_points, weights.shape[1]))
    paths, bases = [], []
    for index in range(rows):
        inputs = [_sample_inputs(run.generator, seed, index, truncation) for seed in seeds]
        z = np.concatenate([each.z for each in inputs]) if latents is None else latents.z
        key_z = np.resize(z, (key_points, z.shape[1]))
        paths.append(latent_path(Latents(key_z, weights), frames=frames, loop=loop))
        # The same bases in all frames: others would change the image by a step of their own.
        bases.append(inputs[0].initial_bases)
    with tqdm(
        total=sum(len(path.z) for path in paths),
        unit="img",
        leave=False,
        mininterval=0.5 if sys.stderr.isatty() else 30.0,
        delay=_SHORT_WORK,
    ) as progress:
        columns = []
        for path, initial_bases in zip(paths, bases, strict=True):
            images = []
            for part in _images(run.generator, path, initial_bases, batch):
                images.append(part)
                progress.update(len(part))
            columns.append(np.concatenate(images))
    return np.concatenate(columns, axis=1)


def _check(
    seeds: Sequence[int], latents: Latents | None, frames: int, truncation: float | None, rows: int, batch: int
) -> None:
    if min(frames, rows, batch) < 1:
        raise UserError(f"frames, rows and batch must be positive, found {frames}, {rows} and {batch}")
    if not seeds or not all(0 <= seed < 2**31 for seed in seeds):
        raise UserError(f"seeds must be in [0, 2^31), at least one, found {list(seeds)}")
    if truncation is not None and not truncation > 0:
        raise UserError(f"truncation must be positive, found {truncation}")
    if latents is not None:
        if truncation is not None or rows > 1:
            raise UserError("truncation and rows need latent vectors drawn from seeds, found latents; leave one out")
        if len(seeds) > 1:
            raise UserError(f"expected one seed, of the initial bases, beside latents, found {len(seeds)}")


def _sample_inputs(generator: Generator, seed: int, index: int, truncation: float | None) -> GeneratorInputs:
    """Returns the inputs of sample ``index`` of a seed, as :class:`hamgan.sampling.sampler.Sampler` draws them."""
    key = random_streams.fold(seed, Purpose.SAMPLES)
    return generator.draw_inputs(key, first=index, count=1, labels=tf.zeros((1,), tf.int32), truncation=truncation)


def _images(
    generator: Generator, path: Latents, initial_bases: Sequence[tf.Tensor], batch: int
) -> Iterator[np.ndarray]:
    """Generates the images of a path, uint8, at most ``batch`` at a time, all with the initial bases of one image."""
    for first in range(0, len(path.z), batch):
        z, weights = (values[first : first + batch] for values in path)
        bases = [tf.tile(each, [len(z)] + [1] * (each.shape.rank - 1)) for each in initial_bases]
        yield to_uint8(generator(z, initial_bases=bases, training=False, class_weights=weights).numpy())


def step_sizes(frames: np.ndarray, *, loop: bool = False) -> np.ndarray:
    """Returns the mean absolute difference of pixels between neighbouring frames.

    Args:
        frames: images, uint8, shape ``(frames, height, width, channels)``.
        loop: whether the first frame follows the last.

    Returns:
        Differences in gray levels (0 to 255), shape ``(frames - 1,)``, or ``(frames,)`` of a loop.

    Example:
        >>> import numpy as np
        >>> from hamgan.sampling.interpolation import step_sizes
        >>> frames = np.array([0, 10, 15], np.uint8).reshape(3, 1, 1, 1)
        >>> step_sizes(frames).tolist(), step_sizes(frames, loop=True).tolist()
        ([10.0, 5.0], [10.0, 5.0, 15.0])
    """
    wide = frames.astype(np.int16)
    following = np.roll(wide, -1, axis=0)
    steps = np.abs(following - wide).mean(axis=(1, 2, 3))
    return steps if loop else steps[:-1]
