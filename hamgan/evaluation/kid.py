"""Kernel Inception Distance, in float64, from features that may lie on disk."""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from hamgan import tfgan
from hamgan.evaluation.row_blocks import check_matrix


def kernel_inception_distance(
    real_pool_3: np.ndarray, fake_pool_3: np.ndarray, max_block_size: int = 1024
) -> tuple[float, float | None]:
    """KID, the unbiased squared maximum mean discrepancy with kernel ``(x^T y / width + 1)^3``, and its standard error.

    TF-GAN's function, handed one pair of blocks at a time in float64, with TF-GAN's own division into blocks: the mean
    over ``ceil(max(n, m) / max_block_size)`` pairs of near equal size. Rows are expected in random order.

    Args:
        real_pool_3: features, ``(n, width)``.
        fake_pool_3: features, ``(m, width)``.
        max_block_size: most rows of one side in a block.

    Returns:
        The distance, which may be a little below 0, and the standard error over blocks, None for a single block.

    Raises:
        ValueError: the widths differ, or the smaller side has fewer than 2 rows for each block.

    Reference: Binkowski et al., Demystifying MMD GANs (ICLR 2018), section 4; blocks as in Zaremba et al., B-tests
    (NeurIPS 2013), where the former draw random subsets.
    """
    check_matrix("real features", real_pool_3)
    check_matrix("fake features", fake_pool_3)
    if real_pool_3.shape[1] != fake_pool_3.shape[1]:
        raise ValueError(f"equal widths are expected, received {real_pool_3.shape[1]} and {fake_pool_3.shape[1]}")
    blocks = max(-(-max(len(real_pool_3), len(fake_pool_3)) // max_block_size), 1)
    if min(len(real_pool_3), len(fake_pool_3)) < 2 * blocks:
        raise ValueError(
            f"at least 2 rows of either side in each of {blocks} blocks are expected, received {len(real_pool_3)} and "
            f"{len(fake_pool_3)} rows in blocks of at most {max_block_size}"
        )
    distances = []
    for real_rows, fake_rows in zip(
        _kernel_blocks(len(real_pool_3), blocks), _kernel_blocks(len(fake_pool_3), blocks), strict=True
    ):
        distance, _ = tfgan.kernel_classifier_distance_and_std_from_activations(
            tf.constant(real_pool_3[real_rows], tf.float64),
            tf.constant(fake_pool_3[fake_rows], tf.float64),
            max_block_size=max_block_size,
        )
        distances.append(float(distance))
    error = float(np.std(distances, ddof=1) / np.sqrt(blocks)) if blocks > 1 else None
    return float(np.mean(distances)), error


def _kernel_blocks(count: int, blocks: int) -> Iterator[slice]:
    """TF-GAN's division: the last ``count % blocks`` blocks have one row more."""
    size, longer = divmod(count, blocks)
    first = 0
    for index in range(blocks):
        last = first + size + (index >= blocks - longer)
        yield slice(first, last)
        first = last
