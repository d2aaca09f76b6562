"""Reads the segmentations of the Semantic Boundaries Dataset (SBD) from its MATLAB files."""

import io
import struct
import zlib

import numpy as np
import scipy.io

from data_prep.collection import DamagedImageError

MAX_CONTENT_BYTES = 64 << 20
"""Maximum size of a file once it is decompressed. Those of SBD have a hundredth of it."""

_SIGNATURE = b"MATLAB 5.0 MAT-file"
_HEADER_BYTES = 128
_COMPRESSED = 15
"""Type of compressed elements."""


def is_sbd_file(data: bytes) -> bool:
    """Whether a file starts like a MATLAB file of version 5, as those of SBD do."""
    return data.startswith(_SIGNATURE)


def read_sbd_file(data: bytes) -> np.ndarray:
    """Returns ``GTcls.Segmentation``: the class of each pixel, uint8, shape ``(height, width)``.

    Args:
        data: content of a file in ``dataset/cls``.

    Raises:
        DamagedImageError: the file is damaged, or does not hold such a segmentation.
    """
    _check_content_size(data)
    try:
        content = scipy.io.loadmat(io.BytesIO(data), variable_names=["GTcls"])
    except Exception as error:  # scipy raises many types for damaged files
        raise DamagedImageError(f"a damaged MATLAB file ({str(error).strip() or type(error).__name__})") from error
    try:
        segmentation = np.asarray(content["GTcls"]["Segmentation"][0, 0])
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise DamagedImageError("a MATLAB file without GTcls.Segmentation") from error
    if segmentation.ndim != 2 or not segmentation.size or segmentation.dtype.kind not in "iu":
        raise DamagedImageError(
            f"GTcls.Segmentation: expected a matrix of integers, found {segmentation.dtype} of {segmentation.shape}"
        )
    return segmentation


def _check_content_size(data: bytes) -> None:
    """Checks the decompressed size before scipy, which has no limit, allocates memory for it."""
    position, total = _HEADER_BYTES, 0
    while position + 8 <= len(data):
        kind, size = struct.unpack_from("<II" if data[126:128] == b"IM" else ">II", data, position)
        position += 8
        if kind == _COMPRESSED:
            total += _decompressed_size(data[position : position + size], MAX_CONTENT_BYTES - total)
        position += size
    if total > MAX_CONTENT_BYTES:
        raise DamagedImageError(f"a MATLAB file of more than {MAX_CONTENT_BYTES:,} bytes once it is decompressed")


def _decompressed_size(data: bytes, limit: int) -> int:
    try:
        return len(zlib.decompressobj().decompress(data, max(limit, 0) + 1))
    except zlib.error as error:
        raise DamagedImageError(f"a damaged MATLAB file ({error})") from error
