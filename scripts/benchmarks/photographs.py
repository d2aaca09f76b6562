"""Photographs to prepare, with about the mean size of ILSVRC 2012 in pixels and bytes, and out of the page cache."""

import concurrent.futures
import io
import os
from collections.abc import Iterator, Sequence

import numpy as np

WIDTHS = (340, 600)
SHORTEST = 290
QUALITIES = (96, 100)


def jpegs(count: int) -> Iterator[bytes]:
    """Yields JPEG files with random crops of the two photographs of scikit-learn.

    Args:
        count: number of files. The first ones are the same for any count.
    """
    from PIL import Image
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(0)
    photographs = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    for index in range(count):
        photograph = photographs[index % len(photographs)]
        width, height = int(rng.integers(*WIDTHS)), int(rng.integers(SHORTEST, photograph.height))
        x, y = int(rng.integers(photograph.width - width)), int(rng.integers(photograph.height - height))
        buffer = io.BytesIO()
        quality = int(rng.integers(*QUALITIES))
        photograph.crop((x, y, x + width, y + height)).save(buffer, "JPEG", quality=quality)
        yield buffer.getvalue()


def drop_from_page_cache(path: str) -> None:
    """Makes the next reader of a file read it from the disk."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def write(folder: str, count: int) -> None:
    """Writes the photographs of :func:`jpegs` into a new folder."""
    os.makedirs(folder)
    for index, jpeg in enumerate(jpegs(count)):
        with open(os.path.join(folder, f"{index:06}.jpg"), "wb") as file:
            file.write(jpeg)


def decode(paths: Sequence[str]) -> int:
    """Reads and decodes pictures with Pillow, in a thread for each core; returns their number.

    Preparation cannot be faster than this if it decodes all pixels.

    Args:
        paths: files of pictures.
    """
    from PIL import Image

    def pixels(path: str) -> int:
        with Image.open(path) as image:
            image.load()  # without Python's lock
            return image.width * image.height

    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        return sum(count > 0 for count in threads.map(pixels, paths, chunksize=16))
