"""Inputs of a generator."""

from typing import NamedTuple

import tensorflow as tf


class GeneratorInputs(NamedTuple):
    """A batch of generator inputs, from :meth:`hamgan.networks.Generator.draw_inputs`.

    Args:
        z: latent vectors, float, shape ``(batch, z_dim)``.
        labels: class labels, int32, shape ``(batch,)``.
        initial_bases: initial bases, one tensor for each context module whose bases are random.
    """

    z: tf.Tensor
    labels: tf.Tensor
    initial_bases: tuple[tf.Tensor, ...]

    def repeated(self, count: int) -> "GeneratorInputs":
        """Returns a batch of ``count`` copies of these inputs, which must be those of a single image."""
        if self.z.shape[0] != 1:
            raise ValueError(f"expected the inputs of a single image, received those of {self.z.shape[0]}")
        bases = tuple(tf.tile(each, [count] + [1] * (each.shape.rank - 1)) for each in self.initial_bases)
        return GeneratorInputs(tf.tile(self.z, [count, 1]), tf.tile(self.labels, [count]), bases)
