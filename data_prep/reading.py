"""Reads listed images, local ones and those in buckets."""

import concurrent.futures
import contextlib
from collections.abc import Iterator, Mapping
from typing import BinaryIO

import numpy as np

from data_prep import storage
from data_prep.listing import IN_FOLDER

MAX_IMAGE_BYTES = 64 << 20
"""Maximum size of an image file. The largest one of ILSVRC 2012 has a quarter of it."""
_REMOTE_READERS = 16


def read_images(images: np.ndarray, containers: Mapping[int, str]) -> Iterator[bytes | OSError]:
    """Reads images in order.

    For local files, the operating system is first told to read ahead all images, in the order of their positions on
    disk. In buckets, several images are read in parallel.

    Args:
        images: ``Listing.images``, or a part of them; the images should fit into memory together.
        containers: path of each container, by its index.

    Yields:
        The bytes of each image, or the error raised when reading it.
    """
    with contextlib.ExitStack() as stack:
        if any(storage.is_remote(path) for path in containers.values()):
            pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(_REMOTE_READERS))
            yield from pool.map(lambda image: _read_image(image, containers, {}), images)
            return
        tars: dict[str, BinaryIO] = {}
        stack.callback(lambda: [tar.close() for tar in tars.values()])
        for image in images[np.lexsort((images["name"], images["offset"], images["container"]))]:
            _read_ahead(image, containers, tars)
        for image in images:
            yield _read_image(image, containers, tars)


def _read_ahead(image: np.void, containers: Mapping[int, str], tars: dict[str, BinaryIO]) -> None:
    # An error is reported when the image itself is read.
    with contextlib.suppress(OSError), _opened(image, containers, tars) as file:
        storage.read_ahead(file, max(0, int(image["offset"])), int(image["size"]))


def _read_image(image: np.void, containers: Mapping[int, str], tars: dict[str, BinaryIO]) -> bytes | OSError:
    offset, size = max(0, int(image["offset"])), int(image["size"])
    try:
        if size > MAX_IMAGE_BYTES:
            raise OSError(f"expected at most {MAX_IMAGE_BYTES:,} bytes, found {size:,}")
        with _opened(image, containers, tars) as file:
            file.seek(offset)
            data = file.read(size)
        if len(data) != size:
            raise OSError(f"expected {size:,} bytes, found {len(data):,}: the file changed during the preparation")
        return data
    except OSError as error:
        return error


def _opened(
    image: np.void, containers: Mapping[int, str], tars: dict[str, BinaryIO]
) -> contextlib.AbstractContextManager[BinaryIO]:
    """Returns the open file that holds an image. Local tars stay open."""
    path = containers[int(image["container"])]
    if image["offset"] == IN_FOLDER:
        return storage.open_binary(storage.join(path, image["name"].decode(errors="surrogateescape")))
    if storage.is_remote(path):  # several threads read at once, each with its own file
        return storage.open_binary(path)
    if path not in tars:
        tars[path] = storage.open_binary(path)
    return contextlib.nullcontext(tars[path])
