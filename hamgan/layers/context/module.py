"""The interface of context modules, which lets networks use any of them by name."""

from typing import ClassVar

import keras
import tensorflow as tf


class ContextModule(keras.Layer):
    """Base class of layers that add global context to images: ``x + sigma * context(x)``.

    Inputs and outputs have shape ``(batch, height, width, channels)``. All modules implement
    ``call(inputs, training=None)``. The class attributes declare further arguments.

    Attributes:
        has_batch_norm: whether the constructor takes ``batch_norm``, ``num_classes`` and ``batch_norm_momentum``, and
            ``call`` takes ``labels``, ``statistics`` and ``class_weights``.
        has_bases: whether ``call`` takes ``initial_bases``.
        sigma: scale of the context, a trainable scalar, initially 0.

    Example:
        >>> from hamgan.layers import NonLocal
        >>> from hamgan.layers.context import ContextModule
        >>> issubclass(NonLocal, ContextModule)
        True
    """

    has_batch_norm: ClassVar[bool] = False
    has_bases: ClassVar[bool] = False
    sigma: keras.Variable

    def has_random_bases(self, training: bool) -> bool:
        """Whether calls draw random bases unless they are given ``initial_bases``.

        Args:
            training: the mode of the call, as the sources of bases in training and evaluation may differ.
        """
        return False

    @property
    def had_random_bases(self) -> bool:
        """Whether evaluation drew random bases before :func:`hamgan.layers.fix_bases`."""
        return False

    def draw_initial_bases(self, key: tf.Tensor, *, first: int | tf.Tensor, count: int) -> tf.Tensor | None:
        """Draws the initial bases of images ``first`` to ``first + count - 1``.

        Args:
            key: key of a random stream, from :func:`hamgan.random_streams.fold`.
            first: index of the first image.
            count: number of images.

        Returns:
            The ``initial_bases`` argument of ``call``, or None if the module has no bases.
        """
        return None

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...], *_: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        """Returns the input's shape."""
        return input_shape
