"""Inputs of a generator."""

from typing import NamedTuple

import tensorflow as tf


class GeneratorInputs(NamedTuple):
    """A batch of generator inputs, from :meth:`hamgan.networks.Generator.draw_inputs`.

    Args:
        z: latent vectors, float, shape ``(batch, z_dim)``.
        labels: class labels, int32, shape ``(batch,)``.
        initial_bases: initial bases, one tensor for each context module with bases.
    """

    z: tf.Tensor
    labels: tf.Tensor
    initial_bases: tuple[tf.Tensor, ...]
