"""Finds problems of several pictures together: the same content, and small pictures."""

import collections
import os
from collections.abc import Iterable, Sequence

import numpy as np

from data_prep.problems import Problem
from data_prep.source_files import SOURCE


def small_pictures(
    kind: str, split: str, images: np.ndarray, affected: np.ndarray, class_names: Sequence[str], limit: int
) -> list[Problem]:
    """Returns one problem for each class that has pictures below a size.

    Args:
        kind: kind of problem.
        split: split of the pictures, or "source".
        images: pictures, an array of a listing.
        affected: whether each of them is too small, shape ``(n,)``.
        class_names: name of each class, by label.
        limit: the size, in pixels.
    """
    problems = []
    totals = np.bincount(images["label"], minlength=len(class_names))
    counts = np.bincount(images["label"][affected], minlength=len(class_names))
    for label in np.flatnonzero(counts).tolist():
        those = images[affected & (images["label"] == label)]
        smallest = those[np.argmin(np.minimum(those["height"], those["width"]))]
        size = f"{smallest['width']}x{smallest['height']}"
        detail = f"{counts[label]:,} of {totals[label]:,} pictures below {limit} pixels, the smallest {size}"
        problems.append(Problem(split, kind, class_names[label], detail))
    return problems


def same_content(
    images: np.ndarray, digests: Iterable[bytes], in_validation: np.ndarray, class_names: Sequence[str]
) -> list[Problem]:
    """Returns one problem for each group of pictures with the same content.

    Args:
        images: pictures, an array of a listing.
        digests: digest of the content of each picture.
        in_validation: whether each picture is in the validation split, shape ``(n,)``.
        class_names: name of each class, by label.
    """
    groups: dict[bytes, list[int]] = collections.defaultdict(list)
    for index, digest in enumerate(digests):
        groups[digest].append(index)
    problems = []
    for members in groups.values():
        if len(members) > 1:
            first, *others = (os.fsdecode(images["name"][index]) for index in members)
            labels = sorted(set(images["label"][members].tolist()))
            if len(set(in_validation[members].tolist())) > 1:
                kind = "same_content_other_split"
            else:
                kind = "same_content" if len(labels) == 1 else "same_content_other_class"
            classes = "" if len(labels) == 1 else f", in {', '.join(class_names[label] for label in labels)}"
            detail = f"same as {', '.join(others[:3])}{', ...' if len(others) > 3 else ''}{classes}"
            problems.append(Problem(SOURCE, kind, first, detail))
    return problems
