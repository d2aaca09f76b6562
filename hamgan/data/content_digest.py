"""Digest of a split's images and labels. It does not depend on where, when or in how many files they were prepared."""

import concurrent.futures
import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Sequence

import tensorflow as tf

from hamgan.data.examples import parse_stored
from hamgan.data.records import RecordPart, read_parts
from hamgan.files import FEATURE_CACHE, write_atomically

_logger = logging.getLogger(__name__)

DEFAULT_CACHE = FEATURE_CACHE
"""Local folder in which evaluation caches what it computes from a data set."""

_PARSE_BATCH = 8
_STAT_THREADS = 16
_HEX_DIGITS = 64


def content_sha256(parts: Sequence[RecordPart], image_key: str, label_key: str | None) -> str:
    """Returns the SHA-256 digest of the stored images and labels, in order, as 64 hexadecimal digits.

    For each example, the digest covers the length of the encoded image (8 bytes, little-endian), the encoded image, and
    the label (8 bytes, little-endian, two's complement). It covers neither the division of records into files nor other
    features. It does not cover the serialized examples, because TFDS orders their features differently in each process.

    Args:
        parts: record files, in order.
        image_key: name of the image feature, stored as bytes.
        label_key: name of the label feature; None if there is none, and all labels are 0.

    Raises:
        tf.errors.OpError: a record cannot be read.
    """
    digest = hashlib.sha256()
    if parts:
        examples = (
            read_parts(parts)
            .batch(_PARSE_BATCH)
            .map(lambda records: parse_stored(records, image_key, label_key), tf.data.AUTOTUNE)
        )
        for images, labels in examples.prefetch(1).as_numpy_iterator():
            for image, label in zip(images, labels, strict=True):
                digest.update(len(image).to_bytes(8, "little"))
                digest.update(image)
                digest.update(int(label).to_bytes(8, "little", signed=True))
    return digest.hexdigest()


def cached_content_sha256(
    parts: Sequence[RecordPart], image_key: str, label_key: str | None, cache_dir: str = DEFAULT_CACHE
) -> str:
    """Returns :func:`content_sha256` from a cache, keyed by the files' paths, sizes and modification times.

    Args:
        parts: record files, in order.
        image_key: name of the image feature, stored as bytes.
        label_key: name of the label feature, or None.
        cache_dir: local folder of the cache. If it is not local or not writable, the digest is computed every time.

    Raises:
        OSError, tf.errors.OpError: a file cannot be read.
    """
    with concurrent.futures.ThreadPoolExecutor(_STAT_THREADS) as threads:
        files = list(threads.map(_file_state, [part.path for part in parts]))
    state = [[*file, part.skip, part.take] for file, part in zip(files, parts, strict=True)]
    key = json.dumps([image_key, label_key, state])
    name = hashlib.sha256(key.encode()).hexdigest()[:32]
    path = os.path.join(os.path.expanduser(cache_dir), "content", f"{name}.sha256")
    cached = _read_digest(path)
    if cached is not None:
        return cached
    count = sum(part.take for part in parts)
    if count:
        _logger.info("Hashing %s examples; the digest is cached", f"{count:,}")
    digest = content_sha256(parts, image_key, label_key)
    # The cache is optional: without it, the digest is computed again next time.
    if "://" not in cache_dir:
        with contextlib.suppress(OSError, tf.errors.OpError):
            write_atomically(path, f"{digest}\n".encode())
    return digest


def _file_state(path: str) -> tuple[str, int, int]:
    """Returns a file's path, size in bytes and modification time in nanoseconds."""
    if "://" in path:
        remote = tf.io.gfile.stat(path)
        return path, int(remote.length), int(remote.mtime_nsec)
    # For local files, tf.io.gfile.stat() has a resolution of one second.
    local = os.stat(path)
    return os.path.abspath(path), local.st_size, local.st_mtime_ns


def _read_digest(path: str) -> str | None:
    """Returns a cached digest, or None if it is missing or damaged."""
    try:
        with open(path, encoding="ascii") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError):
        return None
    digest = text.removesuffix("\n")
    is_whole = len(digest) == _HEX_DIGITS and not set(digest) - set("0123456789abcdef")
    return digest if is_whole else None
