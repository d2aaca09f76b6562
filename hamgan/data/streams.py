"""Shuffled training records, dealt out to streams so that hosts can share the work."""

from collections.abc import Sequence

import tensorflow as tf

from hamgan.data.records import RecordPart, part_elements, read_part

READ_PARALLELISM = 16
"""Minimum number of record files to read in parallel, across all streams."""
MAX_STREAMS = 64
"""Maximum number of streams, and so of hosts that read disjoint sets of files."""
MIN_BALANCE = 0.99
"""Minimum ratio of the shortest stream to the longest. Examples in a shorter stream are seen more often."""


def choose_num_streams(file_sizes: Sequence[int], batch: int) -> int:
    """Returns the number of streams to deal record files out to.

    This is the largest power of two, at most ``MAX_STREAMS``, that divides the batch and gives streams of nearly
    equal length.

    Args:
        file_sizes: number of records in each file.
        batch: images per batch, summed over all hosts.
    """
    num_streams = MAX_STREAMS
    while num_streams > 1:
        if batch % num_streams == 0 and len(file_sizes) >= num_streams:
            sizes = [sum(file_sizes[first::num_streams]) for first in range(num_streams)]
            if min(sizes) >= MIN_BALANCE * max(sizes):
                break
        num_streams //= 2
    return num_streams


def shuffled_records(
    parts: Sequence[RecordPart],
    *,
    batch: int,
    seed: int,
    shuffle_buffer: int,
    skip_examples: int = 0,
    host: int = 0,
    num_hosts: int = 1,
) -> tf.data.Dataset:
    """Returns one host's share of an endless, shuffled sequence of records.

    Each stream reads its own files and fills its own rows of every batch, so the batches do not depend on the number
    of hosts. The order of a stream within epoch e is a function of (seed, stream, e): files are shuffled, read in
    parallel, and their records shuffled in a buffer. Resuming is cheap: whole epochs are skipped without reading them,
    and the start of the current epoch without decoding it.

    Args:
        parts: record files of the split.
        batch: images per batch, summed over all hosts; a multiple of ``num_hosts``.
        seed: seed of the order, below 2^31.
        shuffle_buffer: number of records to shuffle among, summed over all streams.
        skip_examples: number of examples to skip, a multiple of ``batch``.
        host: index of this host.
        num_hosts: number of hosts that share each batch.

    Returns:
        Serialized examples, scalar strings; ``batch / num_hosts`` of them belong to each batch.
    """
    num_streams = choose_num_streams([part.take for part in parts], batch)
    rows = batch // num_streams

    def read_stream(stream: tf.Tensor) -> tf.data.Dataset:
        return _shuffled_stream(
            parts,
            stream,
            num_streams,
            seed=seed,
            shuffle_buffer=shuffle_buffer,
            skip_examples=skip_examples // num_streams,
        )

    def read_streams(first: int, last: int) -> tf.data.Dataset:
        streams = tf.data.Dataset.range(first, last)
        if last - first == 1:
            return streams.flat_map(read_stream)
        return streams.interleave(
            read_stream,
            cycle_length=last - first,
            block_length=rows,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )

    if num_streams % num_hosts == 0:
        streams_per_host = num_streams // num_hosts
        return read_streams(host * streams_per_host, (host + 1) * streams_per_host)
    # With too few streams to divide among the hosts, every host reads all records but decodes only its own rows.
    share = batch // num_hosts
    whole = read_streams(0, num_streams).batch(batch, drop_remainder=True)
    return whole.map(lambda rows: rows[host * share : (host + 1) * share]).unbatch()


def _shuffled_stream(
    parts: Sequence[RecordPart],
    stream: tf.Tensor,
    num_streams: int,
    *,
    seed: int,
    shuffle_buffer: int,
    skip_examples: int,
) -> tf.data.Dataset:
    """Returns the serialized records of one stream, endless, starting at its example ``skip_examples``."""
    sizes = [sum(part.take for part in parts[first::num_streams]) for first in range(num_streams)]
    size = tf.gather(tf.constant(sizes, tf.int64), stream)
    own_files = part_elements(parts).shard(num_streams, stream)
    parallelism = max(1, READ_PARALLELISM // num_streams)

    def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        # shuffle() mixes in the graph's seed, which defaults to the process's global seed: pin it for this graph.
        tf.compat.v1.set_random_seed(1)
        # Seeds are below 2^31, so stream and seed do not overlap.
        key = tf.stack([tf.bitwise.left_shift(stream, tf.constant(32, tf.int64)) + seed, epoch])
        epoch_seed = tf.random.stateless_uniform((), key, 1, tf.int64.max, tf.int64, alg="philox")
        return (
            own_files.shuffle(len(parts), seed=epoch_seed, reshuffle_each_iteration=False)
            .interleave(
                read_part,
                cycle_length=parallelism,
                num_parallel_calls=tf.data.AUTOTUNE if parallelism > 1 else None,
            )
            .shuffle(max(1, shuffle_buffer // num_streams), seed=epoch_seed, reshuffle_each_iteration=False)
        )

    epochs = tf.data.Dataset.range(skip_examples // size, tf.int64.max)
    return epochs.flat_map(one_epoch).skip(skip_examples % size)
