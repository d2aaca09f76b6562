"""Random numbers as functions of (seed, purpose, step, index in the global batch), and of nothing else.

Philox is counter-based: example i of a batch owns a fixed range of the stream, so a replica draws just its share of
the global batch and the numbers do not depend on how many replicas there are, on XLA, or on what was drawn before
(normal numbers up to the last bit, where vectorised and scalar code of the same function differ).
"""

import enum
import math

import tensorflow as tf

_PHILOX = 1
_NUMBERS_PER_COUNT = 4
_MANTISSA_BITS = 23


class Purpose(enum.IntEnum):
    """What a stream is for; part of its key, so that no two uses share numbers."""

    DISCRIMINATOR_UPDATE = 0
    GENERATOR_UPDATE = 1
    SAMPLES = 2
    Z = 3
    LABELS = 4
    GENERATOR_BASES = 5
    DISCRIMINATOR_BASES_REAL = 6
    DISCRIMINATOR_BASES_FAKE = 7
    ROLLBACK = 8
    STANDING_STATISTICS = 9
    KEPT_BASES = 10


def non_negative(number: int) -> int:
    """Returns the lowest 31 bits of an integer of any size: itself, where it may be part of a key as it is."""
    return number & tf.int32.max


def _non_negative_key(key: tf.Tensor) -> tf.Tensor:
    # A negative key would mean other streams under XLA, which extends its sign differently.
    return tf.bitwise.bitwise_and(key, tf.int32.max)


def fold(seed: int | tf.Tensor, *data: int | tf.Tensor) -> tf.Tensor:
    """Derives a stream's key, int32 of shape ``(2,)``, from a seed or another key and any number of integers."""
    key = tf.constant([non_negative(seed), 0], tf.int32) if isinstance(seed, int) else _non_negative_key(seed)
    for item in data:
        key = _non_negative_key(tf.random.fold_in(key, tf.cast(item, tf.int32), alg="philox"))
    return key


def run_stream(seed: int, rollbacks: int = 0) -> tf.Tensor:
    """Returns the key of all that a run draws; another one after each rollback."""
    return fold(seed, Purpose.ROLLBACK, rollbacks) if rollbacks else fold(seed)


def _key_and_counter(key: tf.Tensor, first: int | tf.Tensor, numbers_per_example: int) -> tuple[tf.Tensor, tf.Tensor]:
    stream_key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=_non_negative_key(key))
    offset = tf.cast(first, tf.uint64) * tf.constant(numbers_per_example // _NUMBERS_PER_COUNT, tf.uint64)
    return stream_key, counter + tf.stack([offset, tf.zeros((), tf.uint64)])


def _aligned(size: int) -> int:
    """The next multiple of the numbers that one count of Philox gives."""
    return math.ceil(size / _NUMBERS_PER_COUNT) * _NUMBERS_PER_COUNT


def check_truncation(truncation: float | None) -> None:
    """Refuses a bound of the normal distribution that is not positive.

    Raises:
        ValueError: it is zero, negative or not a number.
    """
    if truncation is not None and not truncation > 0:
        raise ValueError(f"truncation must be positive, received {truncation}")


def draw(
    distribution: str,
    key: tf.Tensor,
    *,
    first: int | tf.Tensor,
    count: int | tf.Tensor,
    shape: tuple[int, ...],
    truncation: float | None = None,
) -> tf.Tensor:
    """Draws for examples ``first`` to ``first + count - 1`` of a batch.

    Args:
        distribution: "normal" (standard) or "uniform" (in [0, 1)).
        key: from :func:`fold`.
        first: index of the first example in the global batch.
        count: number of examples.
        shape: of one example.
        truncation: t, for the normal distribution truncated to [-t, t]: sqrt(2) erfinv((2u - 1) erf(t / sqrt(2)))
            with the u that stands behind the untruncated number. Nothing is rejected and drawn again, so that each
            number still has its place in the stream.

    Returns:
        Float32, shape ``(count, *shape)``.

    Raises:
        ValueError: another distribution, or a truncation that is not positive or not of the normal distribution.
    """
    check_truncation(truncation)
    if truncation is not None and distribution != "normal":
        raise ValueError(f"truncation goes with 'normal', received {truncation} with {distribution!r}")
    size = math.prod(shape)
    stride = _aligned(size)
    stream_key, counter = _key_and_counter(key, first, stride)
    bits = tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=(count * stride,), key=stream_key, counter=counter, alg=_PHILOX, dtype=tf.uint32
    )
    # TensorFlow's own conversions to float use other bits under XLA; these steps are exact everywhere.
    integers = tf.cast(tf.bitwise.right_shift(bits, tf.constant(32 - _MANTISSA_BITS, tf.uint32)), tf.float32)
    integers = tf.reshape(tf.reshape(integers, (count, stride))[:, :size], (count, *shape))
    if distribution == "uniform":
        return integers * 2.0**-_MANTISSA_BITS
    if distribution == "normal":
        # The inverse of the normal distribution function at the middle of each interval, 2u - 1 in (-1, 1).
        centered = (2.0 * integers + 1.0) * 2.0**-_MANTISSA_BITS - 1.0
        if truncation is None:
            return math.sqrt(2.0) * tf.math.erfinv(centered)
        numbers = math.sqrt(2.0) * tf.math.erfinv(centered * math.erf(truncation / math.sqrt(2.0)))
        # Rounding can take the outermost ones past the bound.
        return tf.clip_by_value(numbers, -truncation, truncation)
    raise ValueError(f"distribution must be 'normal' or 'uniform', received {distribution!r}")


def draw_labels(key: tf.Tensor, *, first: int | tf.Tensor, count: int | tf.Tensor, num_classes: int) -> tf.Tensor:
    """Draws uniform labels, int32 in [0, num_classes), for examples ``first`` to ``first + count - 1``."""
    stride = _aligned(1)
    stream_key, counter = _key_and_counter(key, first, stride)
    values = tf.raw_ops.StatelessRandomUniformIntV2(
        shape=(count * stride,),
        key=stream_key,
        counter=counter,
        alg=_PHILOX,
        minval=tf.constant(0, tf.int32),
        maxval=tf.constant(num_classes, tf.int32),
    )
    return values[::stride]
