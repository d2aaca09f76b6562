"""Files of latent vectors: inputs of a generator, kept for later use."""

import io
from typing import NamedTuple

import numpy as np

from hamgan.errors import UserError
from hamgan.files import write_atomically
from hamgan.npz_file import read_arrays

__all__ = ["Latents", "read_latents", "save_latents"]


class Latents(NamedTuple):
    """Inputs of a generator.

    Args:
        z: latent vectors, float32, shape ``(n, z_dim)``.
        class_weights: share of each class in the condition of each image, float32, shape ``(n, num_classes)``; rows sum
            to 1.

    Example:
        >>> import hamgan
        >>> import numpy as np
        >>> from hamgan.sampling.latents import Latents
        >>> run = hamgan.load("runs/digits")
        >>> run.sample(latents=Latents(np.zeros((1, 6), np.float32), np.eye(10, dtype=np.float32)[[3]])).shape
        (1, 32, 32, 3)
    """

    z: np.ndarray
    class_weights: np.ndarray


def save_latents(path: str, latents: Latents) -> None:
    """Writes latent vectors to an ``.npz`` file with the arrays ``z`` and ``class_weights``.

    Args:
        path: path of the file, local or ``gs://``.
        latents: latent vectors and class weights of n images.

    Raises:
        UserError: if the file cannot be written.

    Example:
        >>> import numpy as np
        >>> from hamgan.sampling.latents import Latents, read_latents, save_latents
        >>> save_latents("latents.npz", Latents(np.zeros((2, 12)), np.eye(10)[[3, 7]]))
        >>> read_latents("latents.npz", z_dim=12, num_classes=10).z.shape
        (2, 12)
    """
    buffer = io.BytesIO()
    np.savez(buffer, **{name: value.astype(np.float32) for name, value in latents._asdict().items()})
    write_atomically(path, buffer.getvalue())


def read_latents(path: str, *, z_dim: int, num_classes: int) -> Latents:
    """Reads a file of :func:`save_latents`.

    Args:
        path: path of the file, local or ``gs://``.
        z_dim: number of latent dimensions of the generator.
        num_classes: number of classes of the generator.

    Returns:
        Latent vectors and class weights.

    Raises:
        UserError: if the file cannot be read, or does not fit the generator.

    Example:
        >>> import numpy as np
        >>> from hamgan.sampling.latents import Latents, read_latents, save_latents
        >>> save_latents("one.npz", Latents(np.zeros((1, 12)), np.eye(10)[[3]]))
        >>> read_latents("one.npz", z_dim=12, num_classes=10).class_weights.shape
        (1, 10)
    """
    arrays = read_arrays(path)
    try:
        latents = Latents(*(np.asarray(arrays[name], np.float32) for name in Latents._fields))
    except (KeyError, ValueError, TypeError) as error:
        names = " and ".join(Latents._fields)
        raise UserError(f"{path} is not a file of latent vectors: expected an .npz file with {names}") from error
    check_latents(latents, z_dim=z_dim, num_classes=num_classes, source=path)
    return latents


def check_latents(latents: Latents, *, z_dim: int, num_classes: int, source: str) -> None:
    """Checks that latent vectors fit a generator.

    Args:
        latents: latent vectors and class weights.
        z_dim: number of latent dimensions of the generator.
        num_classes: number of classes of the generator.
        source: path or name of the latent vectors, for errors.

    Raises:
        UserError: if they have another shape, are not finite, or have class weights whose rows do not sum to 1.
    """
    z, class_weights = latents
    count = len(z) if z.ndim else 0
    if not count or z.shape != (count, z_dim) or class_weights.shape != (count, num_classes):
        raise UserError(
            f"{source} does not fit the generator: expected z of shape (n, {z_dim}) and class_weights of shape "
            f"(n, {num_classes}), found {z.shape} and {class_weights.shape}"
        )
    if not np.isfinite(z).all() or not np.allclose(class_weights.sum(1), 1.0, atol=1e-3):
        raise UserError(f"{source} is damaged: expected finite z, and class_weights whose rows sum to 1")
