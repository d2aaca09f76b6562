"""Random numbers that depend only on (seed, purpose, step, index in the global batch).

Philox is counter-based: example i of a batch owns a fixed range of the stream, and a replica draws only its share of
the global batch. The numbers do not depend on the number of replicas, on XLA or on earlier draws. Normal numbers may
differ in the last bit, because vectorised and scalar code of the same function round differently.
"""

import enum
import itertools
import math
from collections.abc import Sequence

import tensorflow as tf

_PHILOX = 1
_NUMBERS_PER_COUNT = 4
_MANTISSA_BITS = 23
_LARGEST_BOUND = 10.0
"""No normal number of 23 bits is larger."""


class Purpose(enum.IntEnum):
    """Purpose of a stream; part of its key, so that no two uses share numbers."""

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
    STORED_BASES = 10
    FLIPS = 11
    AUGMENTATION_REAL = 12
    AUGMENTATION_FAKE = 13
    CONSISTENCY_REAL = 14
    CONSISTENCY_FAKE = 15
    LOGIT_PROBE = 16
    DIRECTIONS = 17
    INVERSION = 18
    SEGMENTATION_AUGMENTATION = 19
    SEGMENTATION_BASES = 20
    SEGMENTATION_DROPOUT = 21
    SEGMENTATION_COLORS = 22
    SEGMENTATION_CROPS = 23


def non_negative(number: int) -> int:
    """Returns the lowest 31 bits of an integer, which is the integer itself if it fits."""
    return number & tf.int32.max


def _non_negative_key(key: tf.Tensor) -> tf.Tensor:
    # XLA extends the sign of a negative key differently, which would select another stream.
    return tf.bitwise.bitwise_and(key, tf.int32.max)


def fold(seed: int | tf.Tensor, *data: int | tf.Tensor) -> tf.Tensor:
    """Derives the key of a stream from a seed or a key, and any number of integers.

    Args:
        seed: integer seed, or key of another stream.
        data: integers that identify the stream, such as a :class:`Purpose` and a step.

    Returns:
        Key, int32, shape ``(2,)``.

    Example:
        >>> from hamgan.random_streams import Purpose, draw, fold
        >>> key = fold(7, Purpose.SAMPLES, 100)
        >>> tuple(key.shape)
        (2,)
        >>> tuple(draw("normal", key, first=0, count=4, shape=(128,)).shape)
        (4, 128)
    """
    key = tf.constant([non_negative(seed), 0], tf.int32) if isinstance(seed, int) else _non_negative_key(seed)
    for item in data:
        key = _non_negative_key(tf.random.fold_in(key, tf.cast(item, tf.int32), alg="philox"))
    return key


def run_stream(seed: int, rollbacks: int = 0) -> tf.Tensor:
    """Returns the root key of a run's streams, which changes after each rollback."""
    return fold(seed, Purpose.ROLLBACK, rollbacks) if rollbacks else fold(seed)


def _key_and_counter(key: tf.Tensor, first: int | tf.Tensor, numbers_per_example: int) -> tuple[tf.Tensor, tf.Tensor]:
    stream_key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=_non_negative_key(key))
    offset = tf.cast(first, tf.uint64) * tf.constant(numbers_per_example // _NUMBERS_PER_COUNT, tf.uint64)
    return stream_key, counter + tf.stack([offset, tf.zeros((), tf.uint64)])


def _aligned(size: int) -> int:
    """Rounds a size up to a multiple of the numbers that one Philox counter yields."""
    return math.ceil(size / _NUMBERS_PER_COUNT) * _NUMBERS_PER_COUNT


def check_truncation(truncation: float | tf.Tensor | None) -> None:
    """Checks that a truncation bound is positive; the caller checks a tensor.

    Raises:
        ValueError: if the bound is zero, negative or NaN.
    """
    if truncation is not None and not tf.is_tensor(truncation) and not truncation > 0:
        raise ValueError(f"truncation must be positive, received {truncation}")


def _normal_mass(bound: float | tf.Tensor) -> float | tf.Tensor:
    """Returns the probability that a standard normal number is in [-bound, bound]."""
    if tf.is_tensor(bound):
        # TensorFlow's erf(inf) is NaN.
        finite = tf.minimum(tf.cast(bound, tf.float64), _LARGEST_BOUND)
        return tf.cast(tf.math.erf(finite / math.sqrt(2.0)), tf.float32)
    return math.erf(bound / math.sqrt(2.0))


def draw(
    distribution: str,
    key: tf.Tensor,
    *,
    first: int | tf.Tensor,
    count: int | tf.Tensor,
    shape: tuple[int, ...],
    truncation: float | tf.Tensor | None = None,
) -> tf.Tensor:
    """Draws random numbers for examples ``first`` to ``first + count - 1`` of a batch.

    Args:
        distribution: "normal" (standard) or "uniform" (in [0, 1)).
        key: key of the stream, see :func:`fold`.
        first: index of the first example in the global batch.
        count: number of examples.
        shape: shape of one example.
        truncation: bound t of the normal distribution truncated to [-t, t]. The result is
            sqrt(2) erfinv((2u - 1) erf(t / sqrt(2))) for the u of the untruncated number. Without rejection
            sampling, each number keeps its place in the stream. A scalar float32 tensor is allowed, and must be
            positive; infinity does not truncate.

    Returns:
        Random numbers, float32, shape ``(count, *shape)``.

    Raises:
        ValueError: if the distribution is unknown, or the truncation is not positive or used with "uniform".
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
    # TensorFlow's own conversion to float uses different bits under XLA; these steps are exact everywhere.
    integers = tf.cast(tf.bitwise.right_shift(bits, tf.constant(32 - _MANTISSA_BITS, tf.uint32)), tf.float32)
    integers = tf.reshape(tf.reshape(integers, (count, stride))[:, :size], (count, *shape))
    if distribution == "uniform":
        return integers * 2.0**-_MANTISSA_BITS
    if distribution == "normal":
        # Inverse of the normal CDF at the midpoint of each interval, with 2u - 1 in (-1, 1).
        centered = (2.0 * integers + 1.0) * 2.0**-_MANTISSA_BITS - 1.0
        if truncation is None:
            return math.sqrt(2.0) * tf.math.erfinv(centered)
        numbers = math.sqrt(2.0) * tf.math.erfinv(centered * _normal_mass(truncation))
        # Rounding can move the outermost numbers past the bound.
        return tf.clip_by_value(numbers, -truncation, truncation)
    raise ValueError(f"distribution must be 'normal' or 'uniform', received {distribution!r}")


def draw_labels(
    key: tf.Tensor,
    *,
    first: int | tf.Tensor,
    count: int | tf.Tensor,
    num_classes: int,
    class_counts: Sequence[int] | None = None,
) -> tf.Tensor:
    """Draws labels, int32 in [0, num_classes), for examples ``first`` to ``first + count - 1``.

    Args:
        key: key of the stream, see :func:`fold`.
        first: index of the first example in the global batch.
        count: number of examples.
        num_classes: number of classes.
        class_counts: number of images of each class, in proportion to which labels are drawn: a uniform integer below
            their sum selects an image, and thereby its class. None draws all classes equally often.

    Raises:
        ValueError: if there is not one non-negative count for each class, or their sum is not in [1, 2^31).
    """
    if class_counts is not None:
        cumulative = list(itertools.accumulate(class_counts))
        if len(cumulative) != num_classes or min(class_counts) < 0 or not 0 < cumulative[-1] <= tf.int32.max:
            raise ValueError(
                f"class_counts must be {num_classes} non-negative integers with a sum in [1, 2^31), "
                f"received {list(class_counts)}"
            )
        images = _draw_integers(key, first=first, count=count, bound=cumulative[-1])
        return tf.searchsorted(tf.constant(cumulative, tf.int32), images, side="right")
    return _draw_integers(key, first=first, count=count, bound=num_classes)


def _draw_integers(key: tf.Tensor, *, first: int | tf.Tensor, count: int | tf.Tensor, bound: int) -> tf.Tensor:
    """Draws uniform int32 in [0, bound), shape ``(count,)``."""
    stride = _aligned(1)
    stream_key, counter = _key_and_counter(key, first, stride)
    values = tf.raw_ops.StatelessRandomUniformIntV2(
        shape=(count * stride,),
        key=stream_key,
        counter=counter,
        alg=_PHILOX,
        minval=tf.constant(0, tf.int32),
        maxval=tf.constant(bound, tf.int32),
    )
    return values[::stride]
