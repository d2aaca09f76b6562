"""Weights and state of the batch normalisation in published modules, which end in relu(x + batch_norm(branch))."""

import numpy as np
import tensorflow as tf

EPSILON = 1e-5


def published_residual(module, inputs, training):
    """relu(x + branch) with the published epsilon; sigma is 1."""
    module.normalization.epsilon = EPSILON
    return tf.nn.relu(module(inputs, training=training))


def batch_norm_names(golden, *, kept):
    """Entries of ``names`` for the published batch normalisation.

    Args:
        golden: the golden file.
        kept: share of the moving averages that a step keeps.
    """
    before = golden.buffers_before["conv2.1.running_var"]
    count = np.prod(golden.x.shape[:3])

    def biased(variance):
        """The published moving variance adds unbiased variances, ours biased ones."""
        return kept * before + (variance - kept * before) * (count - 1) / count

    def layout(variance):
        return variance if np.array_equal(variance, before) else biased(variance)

    return {
        "conv2.1.weight": "normalization.gamma",
        "conv2.1.bias": "normalization.beta",
        "conv2.1.running_mean": "normalization.moving_mean",
        "conv2.1.running_var": ("normalization.moving_variance", layout),
    }
