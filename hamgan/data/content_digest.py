"""The digest of what a split holds: the same wherever and however often the same images are prepared."""

import concurrent.futures
import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Sequence

import tensorflow as tf

from hamgan.data.records import RecordPart, read_parts
from hamgan.files import write_atomically

_logger = logging.getLogger(__name__)

DEFAULT_CACHE = os.path.join("~", ".cache", "hamgan", "features")
"""Local folder in which evaluation keeps what it computes of a data set once."""

_EXAMPLES_AT_ONCE = 8
_FILES_AT_ONCE = 16
_SHA256_DIGITS = 64


def content_sha256(parts: Sequence[RecordPart], image_key: str, label_key: str) -> str:
    """Returns the SHA-256 of the stored images and labels, in their order.

    Of each example: the length of the image's bytes (8 bytes, little-endian), those bytes, and the label (8 bytes,
    little-endian, two's complement). How the records are divided into files does not matter, nor do other features;
    TFDS serialises the features of the same example in an order that changes from process to process.

    Raises:
        tf.errors.OpError: a record cannot be read.
    """
    features = {
        image_key: tf.io.FixedLenFeature((), tf.string),
        label_key: tf.io.FixedLenFeature((), tf.int64),
    }
    digest = hashlib.sha256()
    if parts:
        examples = (
            read_parts(parts)
            .batch(_EXAMPLES_AT_ONCE)
            .map(lambda serialized: tf.io.parse_example(serialized, features), tf.data.AUTOTUNE)
        )
        for batch in examples.prefetch(1).as_numpy_iterator():
            for image, label in zip(batch[image_key], batch[label_key], strict=True):
                digest.update(len(image).to_bytes(8, "little"))
                digest.update(image)
                digest.update(int(label).to_bytes(8, "little", signed=True))
    return digest.hexdigest()


def cached_content_sha256(
    parts: Sequence[RecordPart], image_key: str, label_key: str, cache_dir: str = DEFAULT_CACHE
) -> str:
    """Returns :func:`content_sha256`, computed only if a file's path, size or time has changed since the last time.

    Args:
        parts: the records, in their order.
        image_key: name of the image feature, stored as bytes.
        label_key: name of the label feature.
        cache_dir: local folder of the cache; a folder that is not local or cannot be written is not used.

    Raises:
        OSError, tf.errors.OpError: a file cannot be read.
    """
    with concurrent.futures.ThreadPoolExecutor(_FILES_AT_ONCE) as threads:
        files = list(threads.map(_file_state, [part.path for part in parts]))
    of = [[*file, part.skip, part.take] for file, part in zip(files, parts, strict=True)]
    key = json.dumps([image_key, label_key, of])
    name = hashlib.sha256(key.encode()).hexdigest()[:32]
    path = os.path.join(os.path.expanduser(cache_dir), "content", f"{name}.sha256")
    known = _read(path)
    if known is not None:
        return known
    count = sum(part.take for part in parts)
    if count:
        _logger.info("Computing the digest of %s examples, once", f"{count:,}")
    digest = content_sha256(parts, image_key, label_key)
    # Only a convenience: where nothing can be written, it is computed again.
    if "://" not in cache_dir:
        with contextlib.suppress(OSError, tf.errors.OpError):
            write_atomically(path, f"{digest}\n".encode())
    return digest


def _file_state(path: str) -> tuple[str, int, int]:
    """A file's path, size and time of the last change in nanoseconds."""
    if "://" in path:
        remote = tf.io.gfile.stat(path)
        return path, int(remote.length), int(remote.mtime_nsec)
    # TensorFlow's own answer for a local file has whole seconds only.
    local = os.stat(path)
    return os.path.abspath(path), local.st_size, local.st_mtime_ns


def _read(path: str) -> str | None:
    """A digest from the cache; None if there is none, or a damaged one."""
    try:
        with open(path, encoding="ascii") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError):
        return None
    digest = text.removesuffix("\n")
    is_whole = len(digest) == _SHA256_DIGITS and not set(digest) - set("0123456789abcdef")
    return digest if is_whole else None
