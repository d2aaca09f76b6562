"""Kernel Inception Distance in float64, from features in memory or on disk."""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from hamgan import tfgan
from hamgan.evaluation.row_blocks import check_matrix


def kernel_inception_distance(
    real_pool_3: np.ndarray,
    fake_pool_3: np.ndarray,
    max_block_size: int = 1024,
    *,
    real_rows: np.ndarray | None = None,
    fake_rows: np.ndarray | None = None,
) -> tuple[float, float | None]:
    """Computes KID, the squared maximum mean discrepancy with kernel ``(x^T y / width + 1)^3``.

    The unbiased estimate is averaged over ``ceil(max(n, m) / max_block_size)`` pairs of blocks of nearly equal size,
    divided as TF-GAN divides them. TF-GAN's function computes each pair in float64. Rows that are not in random order,
    such as those of images sorted by class, need ``real_rows`` and ``fake_rows``.

    Args:
        real_pool_3: features of real images, ``(n, width)``.
        fake_pool_3: features of fakes, ``(m, width)``.
        max_block_size: maximum number of real, and of fake, rows per block.
        real_rows: indices of the real rows to use, in random order, ``(n,)``; by default, all in their own order.
        fake_rows: the same of the fake rows.

    Returns:
        The distance, which can be slightly negative, and its standard error over the blocks, None for a single block.

    Raises:
        ValueError: the widths differ, or a block has fewer than 2 real or fake rows.

    Reference: Binkowski et al., Demystifying MMD GANs (ICLR 2018), section 4; blocks as in Zaremba et al., B-tests
    (NeurIPS 2013), while Binkowski et al. draw random subsets.

    Example:
        >>> import numpy as np
        >>> from hamgan.evaluation.kid import kernel_inception_distance
        >>> features = np.random.default_rng(0).normal(size=(200, 5))
        >>> distance, error = kernel_inception_distance(features[:100], features[100:] + 2)
        >>> round(distance, 1), error
        (124.7, None)
    """
    check_matrix("real features", real_pool_3)
    check_matrix("fake features", fake_pool_3)
    if real_pool_3.shape[1] != fake_pool_3.shape[1]:
        raise ValueError(
            f"expected features of equal width, received {real_pool_3.shape[1]} and {fake_pool_3.shape[1]}"
        )
    reals = len(real_pool_3) if real_rows is None else len(real_rows)
    fakes = len(fake_pool_3) if fake_rows is None else len(fake_rows)
    blocks = max(-(-max(reals, fakes) // max_block_size), 1)
    if min(reals, fakes) < 2 * blocks:
        raise ValueError(
            f"expected at least 2 real and 2 fake rows in each of {blocks} blocks, received {reals} and "
            f"{fakes} rows for blocks of at most {max_block_size}"
        )
    distances = []
    for real_block, fake_block in zip(_kernel_blocks(reals, blocks), _kernel_blocks(fakes, blocks), strict=True):
        distance, _ = tfgan.kernel_classifier_distance_and_std_from_activations(
            tf.constant(real_pool_3[real_block if real_rows is None else real_rows[real_block]], tf.float64),
            tf.constant(fake_pool_3[fake_block if fake_rows is None else fake_rows[fake_block]], tf.float64),
            max_block_size=max_block_size,
        )
        distances.append(float(distance))
    error = float(np.std(distances, ddof=1) / np.sqrt(blocks)) if blocks > 1 else None
    return float(np.mean(distances)), error


def _kernel_blocks(count: int, blocks: int) -> Iterator[slice]:
    """Yields slices of blocks as in TF-GAN: the last ``count % blocks`` blocks have one more row."""
    size, longer = divmod(count, blocks)
    first = 0
    for index in range(blocks):
        last = first + size + (index >= blocks - longer)
        yield slice(first, last)
        first = last
