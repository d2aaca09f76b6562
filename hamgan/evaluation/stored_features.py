"""Fills a store of features with the classifier's outputs, with progress and from where it was interrupted."""

import sys
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from hamgan.distribution.strategies import agreed
from hamgan.errors import PreemptedError
from hamgan.evaluation.features import Features, FeatureStore

Batches = Iterator[tuple[dict[str, np.ndarray], np.ndarray]]
"""Outputs of the classifier, and labels."""


def stored_features(
    store: FeatureStore | None,
    count: int,
    batches: Callable[[int], Batches],
    what: str,
    strategy: tf.distribute.Strategy,
) -> Features | None:
    """Returns all features of a store, after computing those that it lacks.

    Args:
        store: store of the features; None in processes other than the chief.
        count: number of images.
        batches: function from the index of the first missing image to the outputs and labels of it and all after it.
        what: name of the images, for the progress bar.
        strategy: strategy whose processes all call this function.

    Returns:
        The features. None in processes other than the chief.

    Raises:
        FailedError: the store cannot be written.
        PreemptedError: the process is stopped; the features so far are saved.
    """
    rows = agreed(strategy, store.rows if store is not None else 0)
    if rows < count:
        with tqdm(
            total=count,
            initial=rows,
            desc=what,
            unit="img",
            leave=False,
            mininterval=0.5 if sys.stderr.isatty() else 30.0,
            disable=store is None,
        ) as progress:
            try:
                for outputs, labels in batches(rows):
                    if store is not None:
                        store.append(outputs["logits"], outputs["pool_3"], labels)
                        progress.update(len(labels))
            except (KeyboardInterrupt, PreemptedError):
                if store is not None:
                    store.save()
                raise
    return None if store is None else store.features()


def with_labels(batches: Iterator[dict[str, np.ndarray]], labels: np.ndarray) -> Batches:
    """Yields outputs of the classifier with the labels of their images.

    Args:
        batches: outputs of consecutive images.
        labels: labels of all these images, int32, ``(n,)``.
    """
    first = 0
    for outputs in batches:
        count = len(outputs["logits"])
        yield outputs, labels[first : first + count]
        first += count
