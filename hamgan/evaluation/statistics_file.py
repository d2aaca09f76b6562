"""Files with mean and covariance of features, in the layout of pytorch-fid and of the guided-diffusion evaluator."""

import hashlib
import io
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from hamgan.errors import FailedError, UserError, reason_of
from hamgan.evaluation.fid import Gaussian
from hamgan.files import write_atomically
from hamgan.npz_file import array_names, read_array, reading_npz

MEAN = "mu"
COVARIANCE = "sigma"
CARD = "hamgan_card"
_ASYMMETRY = 1e-5
"""Largest asymmetry of a covariance, as a share of its largest element, which float32 explains."""


class Statistics(NamedTuple):
    """Statistics of features and what is known of their origin.

    Args:
        gaussian: mean and covariance.
        card: how they were made, from :func:`save_statistics`: "count" (number of images), "classifier" (its card, with
            "sha256" and "resize") and "images" (the card of the images). None in files of other programs.
    """

    gaussian: Gaussian
    card: Mapping[str, Any] | None = None

    @property
    def sha256(self) -> str:
        """SHA-256 of both arrays as float64."""
        return hashlib.sha256(
            b"".join(np.ascontiguousarray(array, "<f8").tobytes() for array in self.gaussian)
        ).hexdigest()


def save_statistics(path: str, statistics: Statistics) -> None:
    """Writes an ``.npz`` file with ``mu``, ``sigma`` and, as JSON text that other programs ignore, the card.

    Args:
        path: path of the file, local or ``gs://``.
        statistics: statistics with a card.

    Raises:
        FailedError: the file cannot be written.

    Example:
        >>> import numpy as np
        >>> from hamgan.evaluation.fid import Gaussian
        >>> from hamgan.evaluation.statistics_file import Statistics, read_statistics, save_statistics
        >>> save_statistics("cats.npz", Statistics(Gaussian(np.zeros(2), np.eye(2)), {"count": 10}))
        >>> read_statistics("cats.npz").card
        {'count': 10}
    """
    buffer = io.BytesIO()
    mean, covariance = statistics.gaussian
    arrays: dict[str, Any] = {MEAN: mean, COVARIANCE: covariance, CARD: json.dumps(statistics.card, sort_keys=True)}
    np.savez(buffer, **arrays)
    try:
        write_atomically(path, buffer.getvalue())
    except (OSError, tf.errors.OpError) as error:
        raise FailedError(f"cannot write {path}: {reason_of(error)}; free space or fix permissions") from error


def read_statistics(path: str) -> Statistics:
    """Reads a file of :func:`save_statistics`, pytorch-fid or the guided-diffusion evaluator.

    Args:
        path: path of the file, local or ``gs://``.

    Raises:
        UserError: the file cannot be read, has no ``mu`` and ``sigma``, or they are no mean and covariance.
    """
    with reading_npz(path) as archive:
        names = array_names(archive)
        if not {MEAN, COVARIANCE} <= set(names):
            raise UserError(
                f"{path}: expected images as arr_0, or statistics as {MEAN} and {COVARIANCE}; found "
                f"{', '.join(names) or 'no arrays'}"
            )
        mean, covariance = read_array(archive, MEAN), read_array(archive, COVARIANCE)
        text = read_array(archive, CARD).item() if CARD in names else "null"
    try:
        card = json.loads(text)
        if card is not None and not (isinstance(card, dict) and isinstance(card["count"], int)):
            raise ValueError("expected an object with count")
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged ({CARD}: {reason_of(error)}); compute the statistics again") from error
    return Statistics(Gaussian(*_checked(path, mean, covariance)), card)


def _checked(path: str, mean: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns both as float64.

    Raises:
        UserError: they are no mean and covariance.
    """
    is_float = all(np.issubdtype(array.dtype, np.floating) for array in (mean, covariance))
    if not is_float or mean.ndim != 1 or not len(mean) or covariance.shape != (len(mean), len(mean)):
        raise UserError(
            f"{path}: expected floating-point {MEAN} of shape (width,) and {COVARIANCE} of shape (width, width), found "
            f"{mean.dtype} of shape {mean.shape} and {covariance.dtype} of shape {covariance.shape}"
        )
    mean, covariance = mean.astype(np.float64), covariance.astype(np.float64)
    advice = "compute the statistics again"
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise UserError(f"{path}: expected finite {MEAN} and {COVARIANCE}, found infinity or NaN; {advice}")
    largest = np.abs(covariance).max()
    if np.abs(covariance - covariance.T).max() > _ASYMMETRY * largest:
        raise UserError(f"{path}: expected a symmetric {COVARIANCE}, found one that is not; {advice}")
    if covariance.diagonal().min() < -_ASYMMETRY * largest:
        raise UserError(f"{path}: expected variances on the diagonal of {COVARIANCE}, found negative ones; {advice}")
    return mean, covariance
