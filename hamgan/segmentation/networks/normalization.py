"""Normalisation layers with the settings of the published networks."""

from typing import Any

import keras

from hamgan.layers.batch_normalization import BatchNormalization

NORM_EPSILON = 1e-5
HAMNET_NORM_MOMENTUM = 0.9997
"""Decay of HamNet's moving averages, for 80,000 steps with a batch of 16."""
MSCAN_NORM_MOMENTUM = 0.9
NUM_GROUPS = 32
"""Number of groups of the group normalisation in LightHamHead and HamHead."""


def batch_norm(name: str, momentum: float, dtype: Any) -> BatchNormalization:
    """Creates batch normalisation with PyTorch's epsilon and unbiased moving variance."""
    return BatchNormalization(momentum=momentum, epsilon=NORM_EPSILON, unbiased_variance=True, name=name, dtype=dtype)


def group_norm(name: str, groups: int, dtype: Any) -> keras.layers.GroupNormalization:
    """Creates group normalisation with PyTorch's epsilon."""
    return keras.layers.GroupNormalization(groups, epsilon=NORM_EPSILON, name=name, dtype=dtype)
