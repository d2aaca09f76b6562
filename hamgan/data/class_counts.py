"""Number of examples of each class."""

import collections
import json
import logging
from collections.abc import Sequence

import tensorflow as tf

from hamgan.data.parts_cache import DEFAULT_CACHE, cached_text
from hamgan.data.records import RecordPart, read_parts

_logger = logging.getLogger(__name__)

_PARSE_BATCH = 256


def count_labels(parts: Sequence[RecordPart], label_key: str) -> dict[int, int]:
    """Returns the number of examples by label, for the labels that occur. Images are not decoded.

    Args:
        parts: record files.
        label_key: name of the label feature.

    Raises:
        tf.errors.OpError: a record cannot be read.
    """
    features = {label_key: tf.io.FixedLenFeature((), tf.int64)}
    labels = (
        read_parts(parts).batch(_PARSE_BATCH).map(lambda records: tf.io.parse_example(records, features)[label_key])
    )
    counts: collections.Counter[int] = collections.Counter()
    for batch in labels.prefetch(tf.data.AUTOTUNE).as_numpy_iterator():
        counts.update(batch.tolist())
    return dict(sorted(counts.items()))


def cached_label_counts(parts: Sequence[RecordPart], label_key: str, cache_dir: str = DEFAULT_CACHE) -> dict[int, int]:
    """Returns :func:`count_labels` from a cache; see :func:`hamgan.data.parts_cache.cached_text`.

    Args:
        parts: record files.
        label_key: name of the label feature.
        cache_dir: local folder of the cache.

    Raises:
        OSError, tf.errors.OpError: a file cannot be read.
    """
    num_examples = sum(part.take for part in parts)

    def count() -> str:
        _logger.info("Counting the labels of %s examples; the counts are cached", f"{num_examples:,}")
        return json.dumps(list(count_labels(parts, label_key).items()))

    def is_whole(text: str) -> bool:
        try:
            return sum(number for _, number in json.loads(text)) == num_examples
        except (TypeError, ValueError):
            return False

    text = cached_text(
        parts, [label_key], count, is_whole=is_whole, kind="class_counts", suffix=".json", cache_dir=cache_dir
    )
    return dict(json.loads(text))
