"""Inception Score, in float64, from logits that may lie on disk."""

import dataclasses

import numpy as np

from hamgan.evaluation.row_blocks import check_matrix, row_blocks


@dataclasses.dataclass(frozen=True, eq=False)
class InceptionScoreSums:
    """Sums over logits, which are all that the Inception Score needs. Sums over parts of the data can be merged.

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
        """Returns the sums over logits, ``(n, classes)``, taken in float64 over blocks of rows."""
        check_matrix("logits", logits)
        total = cls(0, np.zeros(logits.shape[1]), 0.0)
        for block in row_blocks(len(logits)):
            probabilities, negative_entropies = predictions(logits[block])
            total = total.merge(cls(len(probabilities), probabilities.sum(axis=0), negative_entropies.sum()))
        return total

    def merge(self, other: "InceptionScoreSums") -> "InceptionScoreSums":
        """Returns the sums over both parts together."""
        return InceptionScoreSums(
            self.count + other.count,
            self.probabilities + other.probabilities,
            self.negative_entropy + other.negative_entropy,
        )

    @property
    def score(self) -> float:
        """``exp(mean of (sum of p log p) - sum of q log q)``, q the mean of p; a ValueError for no image."""
        if not self.count:
            raise ValueError("the Inception Score takes at least 1 image, received none")
        mean = self.probabilities / self.count
        # A class whose probability underflows for every image adds 0, where TF-GAN's 0 * log 0 is not a number.
        mean = mean[mean > 0]
        return float(np.exp(self.negative_entropy / self.count - mean @ np.log(mean)))


def inception_score(logits: np.ndarray) -> float:
    """IS of logits ``(n, classes)``, over the whole sample; from 1 to the number of classes.

    Equals TF-GAN's ``classifier_score_from_logits`` in float64, in bounded memory.

    Raises:
        ValueError: ``logits`` is no matrix or has no row.

    Reference: Salimans et al., Improved Techniques for Training GANs (NeurIPS 2016), section 4. They average over ten
    splits; this, as TF-GAN, takes the whole sample.
    """
    return InceptionScoreSums.of(logits).score


def predictions(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns p, ``(n, classes)``, and the sum of p log p of each image, ``(n,)``, in float64."""
    log_probabilities = np.array(logits, np.float64)
    log_probabilities -= log_probabilities.max(axis=1, keepdims=True)
    log_probabilities -= np.log(np.exp(log_probabilities).sum(axis=1, keepdims=True))
    probabilities = np.exp(log_probabilities)
    return probabilities, np.einsum("ij,ij->i", probabilities, log_probabilities)
