"""Inception Score in float64, from logits in memory or on disk."""

import dataclasses

import numpy as np

from hamgan.evaluation.row_blocks import check_matrix, row_blocks


@dataclasses.dataclass(frozen=True, eq=False)
class InceptionScoreSums:
    """Sums that determine the Inception Score. Sums over parts of the data can be merged.

    Args:
        count: number of images.
        probabilities: sum of ``p``, float64, ``(classes,)``.
        negative_entropy: sum of ``p log p`` over images and classes, in nats.
    """

    count: int
    probabilities: np.ndarray
    negative_entropy: float

    @classmethod
    def of(cls, logits: np.ndarray) -> "InceptionScoreSums":
        """Returns the sums over logits of shape ``(n, classes)``, computed block by block in float64."""
        check_matrix("logits", logits)
        total = cls(0, np.zeros(logits.shape[1]), 0.0)
        for block in row_blocks(len(logits)):
            probabilities, negative_entropies = predictions(logits[block])
            total = total.merge(cls(len(probabilities), probabilities.sum(axis=0), negative_entropies.sum()))
        return total

    def merge(self, other: "InceptionScoreSums") -> "InceptionScoreSums":
        """Returns the sums over both parts."""
        return InceptionScoreSums(
            self.count + other.count,
            self.probabilities + other.probabilities,
            self.negative_entropy + other.negative_entropy,
        )

    @property
    def score(self) -> float:
        """The Inception Score, ``exp(mean(sum(p log p)) - sum(q log q))``, where q is the mean of p over images.

        Raises:
            ValueError: there are no images.
        """
        if not self.count:
            raise ValueError("expected at least 1 image for the Inception Score, received none")
        mean = self.probabilities / self.count
        # If a class has probability 0 for all images, its term is 0; TF-GAN returns NaN for 0 * log 0.
        mean = mean[mean > 0]
        return float(np.exp(self.negative_entropy / self.count - mean @ np.log(mean)))


def inception_score(logits: np.ndarray) -> float:
    """Computes the Inception Score of a whole sample.

    The result equals TF-GAN's ``classifier_score_from_logits`` in float64. Memory is bounded.

    Args:
        logits: logits of fakes, ``(n, classes)``, in memory or an ``np.memmap``.

    Returns:
        The score, from 1 to the number of classes.

    Raises:
        ValueError: ``logits`` is not a matrix, or has no rows.

    Reference: Salimans et al., Improved Techniques for Training GANs (NeurIPS 2016), section 4. They average over ten
    splits; like TF-GAN, this function uses the whole sample.

    Example:
        >>> import numpy as np
        >>> from hamgan.evaluation.inception_score import inception_score
        >>> round(inception_score(30 * np.eye(4)), 6)
        4.0
    """
    return InceptionScoreSums.of(logits).score


def predictions(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the probabilities p, ``(n, classes)``, and ``sum(p log p)`` of each image, ``(n,)``, in float64."""
    log_probabilities = np.array(logits, np.float64)
    log_probabilities -= log_probabilities.max(axis=1, keepdims=True)
    log_probabilities -= np.log(np.exp(log_probabilities).sum(axis=1, keepdims=True))
    probabilities = np.exp(log_probabilities)
    return probabilities, np.einsum("ij,ij->i", probabilities, log_probabilities)
