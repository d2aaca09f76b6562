"""Files of image arrays, in the layout of guided-diffusion's evaluator."""

import os
import zipfile
from collections.abc import Iterable
from typing import IO, Any

import numpy as np
import tensorflow as tf

from hamgan.files import atomic_file


def write_image_arrays(
    path: str, batches: Iterable[np.ndarray], labels: np.ndarray, image_shape: tuple[int, ...]
) -> None:
    """Writes images and labels to an ``.npz`` file, in memory for one batch at a time.

    ``arr_0`` are the images, uint8, shape ``(n, height, width, channels)``; ``arr_1`` are the labels, int64, shape
    ``(n,)``. The file appears when it is complete, and equal content gives equal bytes.

    Args:
        path: path of the file, local or ``gs://``. Missing folders are created.
        batches: uint8 images in batches, n in all.
        labels: integers, shape ``(n,)``.
        image_shape: ``(height, width, channels)``.

    Raises:
        ValueError: if the batches have another number of images, or images of another shape or dtype.
        OSError, tf.errors.OpError: if the file cannot be written.

    Reference: Dhariwal and Nichol, Diffusion Models Beat GANs on Image Synthesis (NeurIPS 2021), for the layout.

    Example:
        >>> import numpy as np
        >>> from hamgan.sampling.image_arrays import write_image_arrays
        >>> batches = [np.zeros((2, 32, 32, 3), np.uint8), np.zeros((1, 32, 32, 3), np.uint8)]
        >>> write_image_arrays("samples.npz", batches, np.array([3, 3, 7]), (32, 32, 3))
        >>> np.load("samples.npz")["arr_0"].shape
        (3, 32, 32, 3)
    """
    count = len(labels)
    tf.io.gfile.makedirs(os.path.dirname(path) or os.curdir)
    with (
        atomic_file(path) as temporary,
        tf.io.gfile.GFile(temporary, "wb") as file,
        # zipfile asks other files for their position, which TensorFlow's do not know while they are written.
        zipfile.ZipFile(_WriteOnly(file), "w") as archive,  # type: ignore[call-overload]
    ):
        with _member(archive, "arr_0.npy") as member:
            _write_header(member, np.dtype(np.uint8), (count, *image_shape))
            written = 0
            for images in batches:
                if images.dtype != np.uint8 or images.shape[1:] != image_shape:
                    received = f"{images.dtype} of shape {images.shape[1:]}"
                    raise ValueError(f"images must be uint8 of shape {image_shape}, received {received}")
                member.write(np.ascontiguousarray(images).data)
                written += len(images)
            if written != count:
                raise ValueError(f"batches must hold {count} images, one for each label, received {written}")
        with _member(archive, "arr_1.npy") as member:
            _write_header(member, np.dtype(np.int64), (count,))
            member.write(np.ascontiguousarray(labels, np.int64).data)


class _WriteOnly:
    """A file without a position."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, data: Any) -> int:
        content = bytes(data)
        self._file.write(content)
        return len(content)

    def flush(self) -> None:
        self._file.flush()


def _member(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    # ZipInfo's date is a constant, unlike that of a member opened by name.
    return archive.open(zipfile.ZipInfo(name), "w", force_zip64=True)


def _write_header(member: IO[bytes], dtype: np.dtype, shape: tuple[int, ...]) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(member, header)
