"""Inputs of the networks as functions of a random stream and the index of an example, and of nothing else."""

from typing import NamedTuple

import tensorflow as tf


class GeneratorInputs(NamedTuple):
    """One batch of a generator's inputs.

    Args:
        z: latent vectors, shape ``(batch, z_dim)``.
        labels: int32, shape ``(batch,)``.
        initial_bases: initial bases of each context module that has any.
    """

    z: tf.Tensor
    labels: tf.Tensor
    initial_bases: tuple[tf.Tensor, ...]
