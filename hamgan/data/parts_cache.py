"""Cache of short texts that are computed from record files, such as a digest."""

import concurrent.futures
import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from hamgan.data.records import RecordPart
from hamgan.files import FEATURE_CACHE, write_atomically

DEFAULT_CACHE = FEATURE_CACHE
"""Local folder in which evaluation caches what it computes from a data set."""

_STAT_THREADS = 16


def cached_text(
    parts: Sequence[RecordPart],
    settings: Sequence[Any],
    compute: Callable[[], str],
    *,
    is_whole: Callable[[str], bool],
    kind: str,
    suffix: str,
    cache_dir: str,
) -> str:
    """Returns the result of ``compute`` from a cache, keyed by the files' paths, sizes and modification times.

    Args:
        parts: record files, in order.
        settings: everything else that the result depends on, as JSON values.
        compute: function that computes the text, a single line.
        is_whole: function that recognises a complete text, to reject damaged cache entries.
        kind: folder within the cache.
        suffix: suffix of file names.
        cache_dir: local folder of the cache. If it is not local or not writable, the text is computed every time.

    Raises:
        OSError, tf.errors.OpError: a file cannot be read.
    """
    with concurrent.futures.ThreadPoolExecutor(_STAT_THREADS) as threads:
        files = list(threads.map(_file_state, [part.path for part in parts]))
    state = [[*file, part.skip, part.take] for file, part in zip(files, parts, strict=True)]
    name = hashlib.sha256(json.dumps([*settings, state]).encode()).hexdigest()[:32]
    path = os.path.join(os.path.expanduser(cache_dir), kind, f"{name}{suffix}")
    cached = _read_line(path)
    if cached is not None and is_whole(cached):
        return cached
    text = compute()
    # The cache is optional: without it, the text is computed again next time.
    if "://" not in cache_dir:
        with contextlib.suppress(OSError, tf.errors.OpError):
            write_atomically(path, f"{text}\n".encode())
    return text


def _file_state(path: str) -> tuple[str, int, int]:
    """Returns a file's path, size in bytes and modification time in nanoseconds."""
    if "://" in path:
        remote = tf.io.gfile.stat(path)
        return path, int(remote.length), int(remote.mtime_nsec)
    # For local files, tf.io.gfile.stat() has a resolution of one second.
    local = os.stat(path)
    return os.path.abspath(path), local.st_size, local.st_mtime_ns


def _read_line(path: str) -> str | None:
    """Returns a cached text, or None if it cannot be read."""
    try:
        with open(path, encoding="ascii") as file:
            return file.read().removesuffix("\n")
    except (OSError, UnicodeDecodeError):
        return None
