"""The scores, computed by TF-GAN from a classifier's features."""

import numpy as np
import tensorflow as tf

from hamgan import tfgan


def frechet_inception_distance(real_pool_3: np.ndarray, fake_pool_3: np.ndarray) -> float:
    """FID of two sets of features, ``(n, width)`` each; 0 for equal means and covariances.

    Reference: Heusel et al., GANs Trained by a Two Time-Scale Update Rule (NeurIPS 2017).
    """
    distance = tfgan.frechet_classifier_distance_from_activations(
        tf.convert_to_tensor(real_pool_3), tf.convert_to_tensor(fake_pool_3)
    )
    return float(distance)


def inception_score(logits: np.ndarray) -> float:
    """IS of logits ``(n, classes)``, over the whole sample; from 1 to the number of classes.

    Reference: Salimans et al., Improved Techniques for Training GANs (NeurIPS 2016).
    """
    return float(tfgan.classifier_score_from_logits(tf.convert_to_tensor(logits)))


def class_conditional_accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Share, in [0, 1], of the images that the classifier assigns to the label asked for."""
    return float(np.mean(np.argmax(logits, axis=1) == labels))
