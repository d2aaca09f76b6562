"""Directions of the latent space along which images change most."""

import io
import math
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import tensorflow as tf
from sklearn.decomposition import IncrementalPCA
from tqdm import tqdm

from hamgan import random_streams
from hamgan.errors import UserError
from hamgan.files import write_atomically
from hamgan.networks import Generator
from hamgan.npz_file import read_arrays
from hamgan.random_streams import Purpose
from hamgan.sampling.grids import enlarged, grid_classes, image_grid, to_uint8

__all__ = ["Directions", "direction_strip", "find_directions", "read_directions", "save_directions"]

if TYPE_CHECKING:
    from hamgan.sampling.trained import Run

STEPS = (-3, -2, -1, 0, 1, 2, 3)
"""Distances of the pictures of a strip from its center, in standard deviations of the latent vectors."""
ROWS = 4
FILE_NAME = "directions.npz"
_GANSPACE_BATCH = 128
_GANSPACE_BATCHES = 10
_SMALLEST_PICTURE = 64


class Directions(NamedTuple):
    """Directions of a latent space, the most important one first.

    Args:
        directions: unit vectors, float32, shape ``(k, z_dim)``. Latent vectors are standard normal, so ``z + 2 * d``
            moves z by two standard deviations. The largest component of each is positive.
        values: importance of each, float32, shape ``(k,)``: how much the first layer stretches the direction, squared
            ("sefa"), or its share of the variance of the activations ("ganspace").
        method: "sefa" or "ganspace".

    Example:
        >>> import hamgan
        >>> hamgan.load("runs/digits").directions(num=2).values.shape
        (2,)
    """

    directions: np.ndarray
    values: np.ndarray
    method: str


def find_directions(
    run: "Run",
    *,
    method: str = "sefa",
    num: int = 5,
    classes: Sequence[int | str] | None = None,
    seed: int = 0,
) -> Directions:
    """Finds directions of the latent space along which images change most.

    "sefa": with the spectrally normalised kernel A of the first layer, z -> A z + b, the unit vectors n of largest
    ``|A n|``, which are the eigenvectors of A^T A. Closed form, and the same for all classes.

    "ganspace": principal components of the activations after the first block, and the regression of z on their
    coordinates. The activations are centered within each class, because differences between classes would dominate.

    Args:
        run: run with a trained generator.
        method: "sefa" or "ganspace".
        num: number of directions, at most z_dim.
        classes: classes whose activations "ganspace" uses; by default, ten spread over all. "sefa" ignores them.
        seed: seed of the latent vectors of "ganspace".

    Returns:
        The directions, the most important one first.

    Raises:
        UserError: if the method or a class does not exist, or ``num`` is out of range.

    Reference: Shen and Zhou, Closed-Form Factorization of Latent Semantics in GANs (CVPR 2021), section 3; Härkönen et
    al., GANSpace: Discovering Interpretable GAN Controls (NeurIPS 2020), section 2. For BigGAN, GANSpace uses the
    activations of the first layer. That layer is linear here, and for normal z the result would be that of "sefa".

    Example:
        >>> import hamgan
        >>> from hamgan.sampling.directions import find_directions
        >>> find_directions(hamgan.load("runs/digits"), num=3).directions.shape
        (3, 6)
    """
    if method not in _METHODS:
        raise UserError(f"the method of directions must be {' or '.join(_METHODS)}, found '{method}'")
    generator = run.generator
    if not 1 <= num <= generator.z_dim:
        raise UserError(
            f"the number of directions must be in 1-{generator.z_dim}, the dimensions of latent vectors, found {num}"
        )
    if not 0 <= seed < 2**31:
        raise UserError(f"seed must be in [0, 2^31), found {seed}")
    directions, values = _METHODS[method](generator, num, _labels(run, classes, rows=10), seed)
    directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    largest = np.take_along_axis(directions, abs(directions).argmax(axis=1)[:, np.newaxis], axis=1)
    return Directions((directions * np.sign(largest)).astype(np.float32), values.astype(np.float32), method)


def _labels(run: "Run", classes: Sequence[int | str] | None, rows: int) -> list[int]:
    labels = grid_classes(run.config.model.num_classes, rows) if classes is None else run.labels(classes)
    if not labels:
        raise UserError("classes must name at least one class, found none")
    return labels


def _sefa(generator: Generator, num: int, labels: Sequence[int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    del labels, seed  # The first layer is the same for all classes.
    # Keras multiplies from the left: this kernel is A^T.
    kernel = np.asarray(generator.dense.normalized_kernel(training=False), np.float64)
    values, vectors = np.linalg.eigh(kernel @ kernel.T)
    return vectors.T[::-1][:num], values[::-1][:num]


def _ganspace(generator: Generator, num: int, labels: Sequence[int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    key = random_streams.fold(seed, Purpose.DIRECTIONS)

    @tf.function(autograph=False)
    def activations(z: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        stem = generator.dense(tf.cast(z, generator.compute_dtype), training=False)
        stem = tf.reshape(stem, (-1, *generator.stem_shape))
        hidden = tf.reshape(generator.blocks[0](stem, labels, training=False), (tf.shape(z)[0], -1))
        return hidden - tf.reduce_mean(hidden, axis=0)

    # As many as IncrementalPCA needs for all directions.
    count = max(_GANSPACE_BATCH, generator.z_dim)

    def batch(index: int) -> tuple[np.ndarray, np.ndarray]:
        z = random_streams.draw("normal", key, first=index * count, count=count, shape=(generator.z_dim,))
        # One class a batch, so that its mean is that of the class.
        return z.numpy(), activations(z, tf.fill((count,), labels[index % len(labels)])).numpy()

    # Equally many of each class.
    indices = range(math.ceil(_GANSPACE_BATCHES / len(labels)) * len(labels))
    # The more components are kept between batches, the better the first ones.
    components = IncrementalPCA(n_components=generator.z_dim)
    for index in tqdm(indices, desc="Principal components", leave=False):
        components.partial_fit(batch(index)[1])
    regression = np.zeros((num, generator.z_dim))
    for index in tqdm(indices, desc="Regression", leave=False):
        z, hidden = batch(index)
        # Coordinates are uncorrelated, so that each has its own regression; a scale does not matter.
        regression += components.transform(hidden)[:, :num].T @ z
    return regression, components.explained_variance_ratio_[:num]


_Method = Callable[[Generator, int, Sequence[int], int], tuple[np.ndarray, np.ndarray]]
_METHODS: dict[str, _Method] = {"sefa": _sefa, "ganspace": _ganspace}


def direction_strip(
    run: "Run",
    direction: np.ndarray,
    *,
    classes: Sequence[int | str] | None = None,
    seed: int = 0,
    steps: Sequence[float] = STEPS,
) -> np.ndarray:
    """Generates images along a direction, one random latent vector per row.

    Initial bases and class are those of the row, so that images of a row differ in z only.

    Args:
        run: run with a trained generator.
        direction: direction, shape ``(z_dim,)``.
        classes: classes of the rows; by default, four spread over all. Row i uses z and bases of sample i.
        seed: seed of the samples.
        steps: distance of each column from z, in multiples of the direction.

    Returns:
        Images, uint8, shape ``(rows * len(steps), resolution, resolution, channels)``, row by row.

    Example:
        >>> import hamgan
        >>> from hamgan.sampling.directions import direction_strip
        >>> run = hamgan.load("runs/digits")
        >>> direction_strip(run, run.directions().directions[0], classes=["3"], steps=(-2, 0, 2)).shape
        (3, 32, 32, 3)
    """
    generator = run.generator
    key = random_streams.fold(seed, Purpose.SAMPLES)
    rows = []
    for row, label in enumerate(_labels(run, classes, ROWS)):
        inputs = generator.draw_inputs(key, first=row, count=1, labels=tf.constant([label])).repeated(len(steps))
        shifted = inputs._replace(z=inputs.z + np.outer(steps, direction).astype(np.float32))
        rows.append(to_uint8(generator(*shifted, training=False).numpy()))
    return np.concatenate(rows)


def write_directions(
    run: "Run",
    folder: str,
    *,
    method: str = "sefa",
    num: int = 5,
    classes: Sequence[int | str] | None = None,
    seed: int = 0,
) -> list[str]:
    """Finds directions and writes them as ``directions.npz``, with a picture of images along each.

    Args:
        run: run with a trained generator.
        folder: folder of the files, local or ``gs://``; created if it does not exist.
        method: "sefa" or "ganspace".
        num: number of directions.
        classes: classes of the rows of each picture, and of the activations of "ganspace".
        seed: seed of the samples.

    Returns:
        Paths of the files: ``directions.npz`` and ``direction_01.png`` to ``direction_NN.png``.

    Raises:
        UserError: as :func:`find_directions`.
        OSError, tf.errors.OpError: if the files cannot be written.
    """
    found = find_directions(run, method=method, num=num, classes=classes, seed=seed)
    paths = [os.path.join(folder, FILE_NAME)]
    names = [run.class_names[label] for label in _labels(run, classes, ROWS)]
    save_directions(paths[0], found)
    for index, direction in enumerate(tqdm(found.directions, desc="Pictures", leave=False), start=1):
        images = enlarged(direction_strip(run, direction, classes=classes, seed=seed), _SMALLEST_PICTURE)
        columns = [f"{step:+d} sd" if step else "0" for step in STEPS]
        grid = image_grid(images, columns=len(STEPS), row_names=names, column_names=columns)
        paths.append(os.path.join(folder, f"direction_{index:02d}.png"))
        write_atomically(paths[-1], tf.io.encode_png(grid).numpy())
    return paths


def save_directions(path: str, directions: Directions) -> None:
    """Writes directions to an ``.npz`` file with the arrays ``directions``, ``values`` and ``method``.

    Args:
        path: path of the file, local or ``gs://``.
        directions: directions of a generator.

    Example:
        >>> import numpy as np
        >>> from hamgan.sampling.directions import Directions, read_directions, save_directions
        >>> save_directions("directions.npz", Directions(np.eye(12)[:3], np.ones(3), "sefa"))
        >>> read_directions("directions.npz", z_dim=12).directions.shape
        (3, 12)
    """
    buffer = io.BytesIO()
    np.savez(
        buffer,
        directions=np.asarray(directions.directions, np.float32),
        values=np.asarray(directions.values, np.float32),
        method=directions.method,
    )
    write_atomically(path, buffer.getvalue())


def read_directions(path: str, *, z_dim: int) -> Directions:
    """Reads a file of :func:`save_directions`.

    Args:
        path: path of the file, local or ``gs://``.
        z_dim: number of latent dimensions of the generator.

    Returns:
        The directions.

    Raises:
        UserError: if the file cannot be read, or does not fit the generator.

    Example:
        >>> import numpy as np
        >>> from hamgan.sampling.directions import Directions, read_directions, save_directions
        >>> save_directions("two.npz", Directions(np.eye(12)[:2], np.ones(2), "sefa"))
        >>> read_directions("two.npz", z_dim=12).method
        'sefa'
    """
    arrays = read_arrays(path)
    try:
        directions, values = (np.asarray(arrays[name], np.float32) for name in ("directions", "values"))
        method = str(arrays["method"])
    except (KeyError, ValueError, TypeError) as error:
        names = ", ".join(Directions._fields)
        raise UserError(f"{path} is not a file of directions: expected an .npz file with {names}") from error
    count = len(directions) if directions.ndim else 0
    if not count or directions.shape != (count, z_dim) or values.shape != (count,):
        raise UserError(
            f"{path} does not fit the generator: expected directions of shape (k, {z_dim}) and values of shape (k,), "
            f"found {directions.shape} and {values.shape}"
        )
    if not np.isfinite(directions).all():
        raise UserError(f"{path} is damaged: expected finite directions")
    return Directions(directions, values, method)
