"""Arrays of ``.npz`` files: their shapes without their contents, and their rows without the whole array."""

import contextlib
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

import numpy as np
import tensorflow as tf

from hamgan.errors import UserError, reason_of

_SKIPPED_AT_ONCE = 1 << 22
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, KeyError, NotImplementedError),
    *(TypeError, SyntaxError, MemoryError, tf.errors.InvalidArgumentError),
)
"""What zipfile, NumPy and, where a file is too short, GFile.seek raise for truncated or damaged files."""


class ArrayHeader(NamedTuple):
    """Description of an array in a file.

    Args:
        shape: shape of the array.
        dtype: type of its elements.
        is_fortran: whether its first axis varies fastest.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    is_fortran: bool


@contextlib.contextmanager
def reading_npz(path: str) -> Iterator[zipfile.ZipFile]:
    """Opens an ``.npz`` file, and turns errors of reading it, within the ``with`` block, into a UserError.

    Args:
        path: path of the file, local or ``gs://``.

    Raises:
        UserError: the file cannot be read, is no ``.npz`` file, or is truncated or damaged.
    """
    try:
        with tf.io.gfile.GFile(path, "rb") as file, zipfile.ZipFile(file) as archive:
            yield archive
    except _DAMAGE as error:
        reason = "it is too short" if isinstance(error, tf.errors.InvalidArgumentError) else reason_of(error)
        raise UserError(f"{path} is no complete .npz file ({reason}); copy or write it again") from error
    except (OSError, tf.errors.OpError) as error:
        raise UserError(f"cannot read {path}: {reason_of(error)}") from error


def read_arrays(path: str) -> dict[str, np.ndarray]:
    """Returns all arrays of an ``.npz`` file by name.

    Args:
        path: path of the file, local or ``gs://``.

    Raises:
        UserError: as :func:`reading_npz`.
    """
    with reading_npz(path) as archive:
        return {name: read_array(archive, name) for name in array_names(archive)}


def array_names(archive: zipfile.ZipFile) -> list[str]:
    """Returns the names of the arrays in an open ``.npz`` file."""
    return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


def read_header(archive: zipfile.ZipFile, name: str) -> ArrayHeader:
    """Returns the header of an array in an open ``.npz`` file."""
    with archive.open(f"{name}.npy") as stream:
        return _header(stream)


def read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """Returns a whole array of an open ``.npz`` file."""
    with archive.open(f"{name}.npy") as stream:
        array = np.lib.format.read_array(stream, allow_pickle=False)
        stream.read(1)  # The end is where zipfile compares checksums.
        return array


def read_rows(archive: zipfile.ZipFile, name: str, *, first: int, batch: int) -> Iterator[np.ndarray]:
    """Yields the rows of an array from ``first`` on, a batch at a time.

    Args:
        archive: open ``.npz`` file.
        name: name of the array, which is not in Fortran order.
        first: index of the first row.
        batch: number of rows to hold in memory.
    """
    with archive.open(f"{name}.npy") as stream:
        shape, dtype, _ = _header(stream)
        row = int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize
        to_skip = first * row
        while to_skip > 0:
            skipped = len(stream.read(min(to_skip, _SKIPPED_AT_ONCE)))
            if not skipped:
                raise EOFError(f"array {name} ends early")
            to_skip -= skipped
        for start in range(first, shape[0], batch):
            count = min(batch, shape[0] - start)
            content = stream.read(count * row)
            if len(content) < count * row:
                raise EOFError(f"array {name} ends early")
            yield np.frombuffer(content, dtype).reshape(count, *shape[1:])
        stream.read(1)  # The end is where zipfile compares checksums.


def _header(stream: IO[bytes]) -> ArrayHeader:
    version = np.lib.format.read_magic(stream)
    read: Any = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"version {version} of the .npy format")
    shape, is_fortran, dtype = read(stream)
    return ArrayHeader(shape, dtype, is_fortran)
