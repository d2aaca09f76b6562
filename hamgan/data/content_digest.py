"""Digest of a split's images and labels. It does not depend on where, when or in how many files they were prepared."""

import hashlib
import logging
from collections.abc import Sequence

import tensorflow as tf

from hamgan.data.examples import parse_stored
from hamgan.data.parts_cache import DEFAULT_CACHE, cached_text
from hamgan.data.records import RecordPart, read_parts

_logger = logging.getLogger(__name__)

_PARSE_BATCH = 8
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
    """Returns :func:`content_sha256` from a cache; see :func:`hamgan.data.parts_cache.cached_text`.

    Args:
        parts: record files, in order.
        image_key: name of the image feature, stored as bytes.
        label_key: name of the label feature, or None.
        cache_dir: local folder of the cache.

    Raises:
        OSError, tf.errors.OpError: a file cannot be read.
    """

    def digest() -> str:
        if count := sum(part.take for part in parts):
            _logger.info("Hashing %s examples; the digest is cached", f"{count:,}")
        return content_sha256(parts, image_key, label_key)

    return cached_text(
        parts,
        [image_key, label_key],
        digest,
        is_whole=lambda text: len(text) == _HEX_DIGITS and not set(text) - set("0123456789abcdef"),
        kind="content",
        suffix=".sha256",
        cache_dir=cache_dir,
    )
