"""Divides pictures into a training and a validation split."""

import collections
import hashlib
from collections.abc import Sequence

import numpy as np

from hamgan.errors import UserError

DEFAULT_SHARE = "10%"


def parse_size(text: str) -> tuple[int | None, float | None]:
    """Returns the size of a validation split as a number of pictures, or as a share of all; the other one is None.

    Args:
        text: such as "500" or "10%".

    Raises:
        UserError: the text is neither a whole number nor a percentage from 0% to below 100%.
    """
    number = text.strip()
    try:
        if number.endswith("%"):
            share = float(number[:-1]) / 100
            if 0 <= share < 1:
                return None, share
        elif int(number) >= 0:
            return int(number), None
    except ValueError:
        pass
    raise UserError(f"--validation_split: expected a percentage such as 10%, a number of pictures or 0, found '{text}'")


def choose_validation(labels: np.ndarray, digests: Sequence[bytes], size: str, seed: int) -> np.ndarray:
    """Chooses the pictures of the validation split.

    Every class has its share of the split. Pictures with the same content are always on one side: those in several
    classes in the training split. Each class keeps at least one picture in the training split. The choice depends only
    on the seed, the contents and their labels, not on names.

    Args:
        labels: label of each picture, from 0 on, shape ``(n,)``.
        digests: digest of the content of each picture.
        size: such as "500" or "10%".
        seed: seed of the choice.

    Returns:
        Whether each picture belongs to the validation split, shape ``(n,)``.

    Raises:
        UserError: the size is invalid, or not smaller than the number of pictures.
    """
    count, share = parse_size(size)
    if count is None:
        count = round((share or 0.0) * len(labels))
    if count == 0:
        return np.zeros(len(labels), bool)
    if count >= len(labels):
        raise UserError(f"--validation_split: expected fewer than all {len(labels):,} pictures, found {count:,}")
    members: dict[bytes, list[int]] = collections.defaultdict(list)
    for index, digest in enumerate(digests):
        members[digest].append(index)
    groups: dict[int, list[tuple[bytes, list[int]]]] = collections.defaultdict(list)
    for digest, indices in members.items():
        if len(set(labels[indices].tolist())) == 1:
            order = hashlib.sha256(f"{seed} ".encode() + digest).digest()
            groups[int(labels[indices[0]])].append((order, indices))
    chosen = np.zeros(len(labels), bool)
    for label, quota in enumerate(_quotas(np.bincount(labels), count)):
        for _, indices in sorted(groups[label]):
            if len(indices) <= quota:
                chosen[indices] = True
                quota -= len(indices)
    return chosen


def _quotas(sizes: np.ndarray, count: int) -> list[int]:
    """Returns each class's part of ``count``, in proportion to its size, by largest remainders."""
    exact = count * sizes / sizes.sum()
    quotas = np.floor(exact).astype(np.int64)
    largest_first = np.lexsort((np.arange(len(sizes)), -(exact - quotas)))
    quotas[largest_first[: count - quotas.sum()]] += 1
    return np.minimum(quotas, np.maximum(sizes - 1, 0)).tolist()
