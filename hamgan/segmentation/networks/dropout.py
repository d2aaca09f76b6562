"""Dropout of whole channels and of whole branches, with random numbers that a caller can determine."""

import dataclasses
import random
import zlib
from typing import Any

import keras
import tensorflow as tf

from hamgan import random_streams

Shape = tuple[int | None, ...]


@dataclasses.dataclass(frozen=True)  # Not a tuple, in which Keras allows tensors only.
class Noise:
    """Random stream of a batch, which determines what a network drops.

    Args:
        key: key of the stream, from :func:`hamgan.random_streams.fold`.
        first: index of the first image in the global batch; a replica passes the index of its own first image.
    """

    key: tf.Tensor
    first: int | tf.Tensor = 0


class _Dropout(keras.Layer):
    """Base class: multiplies images by a random mask, whose shape the subclass determines.

    Args:
        rate: probability of a zero, in [0, 1).
        seed: integer seed of calls without ``noise``; None draws a seed.
    """

    def __init__(self, rate: float, *, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"rate must be in [0, 1), received {rate}")
        self.rate = rate
        self.seed = seed
        # Python's generator, like Keras's own seeds, so that keras.utils.set_random_seed applies.
        stream_seed = random.getrandbits(31) if seed is None else random_streams.non_negative(seed)
        self.seed_generator = keras.random.SeedGenerator(stream_seed)

    def _mask_shape(self, channels: int) -> tuple[int, int, int]:
        raise TypeError(f"{type(self).__name__} must define _mask_shape()")

    def call(self, inputs: tf.Tensor, training: bool | None = None, noise: Noise | None = None) -> tf.Tensor:
        """Drops parts of the inputs in training, and divides the others by ``1 - rate``.

        Args:
            inputs: tensor of shape ``(batch, height, width, channels)``.
            training: whether to drop.
            noise: random stream of the batch; by default, the layer's own, which differs for each call and replica.

        Returns:
            Tensor with the shape of the inputs.
        """
        if not training or self.rate == 0:
            return inputs
        path = random_streams.non_negative(zlib.crc32((self.path or self.name).encode()))
        numbers = random_streams.draw(
            "uniform",
            random_streams.fold(self._own_key() if noise is None else noise.key, path),
            first=0 if noise is None else noise.first,
            count=tf.shape(inputs)[0],
            shape=self._mask_shape(inputs.shape[-1]),
        )
        return tf.where(numbers >= self.rate, inputs / (1 - self.rate), tf.zeros_like(inputs))

    def _own_key(self) -> tf.Tensor:
        replica = tf.distribute.get_replica_context()
        replica_id = 0 if replica is None else replica.replica_id_in_sync_group
        return random_streams.fold(tf.cast(self.seed_generator.next(), tf.int32), replica_id)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


@keras.saving.register_keras_serializable(package="hamgan")
class SpatialDropout(_Dropout):
    """Drops whole channels of each image in training.

    Args:
        rate: probability that a channel is dropped, in [0, 1).
        seed: integer seed of calls without ``noise``; None draws a seed.

    Raises:
        ValueError: if ``rate`` is out of range.

    Reference: Tompson et al., Efficient Object Localization Using Convolutional Networks (CVPR 2015).

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.segmentation.networks.dropout import SpatialDropout
        >>> SpatialDropout(0.1)(tf.ones((2, 4, 4, 8)), training=True).shape
        TensorShape([2, 4, 4, 8])
    """

    def _mask_shape(self, channels: int) -> tuple[int, int, int]:
        return (1, 1, channels)


@keras.saving.register_keras_serializable(package="hamgan")
class StochasticDepth(_Dropout):
    """Drops a residual branch for random images of a batch in training.

    Args:
        rate: probability that the branch of an image is dropped, in [0, 1).
        seed: integer seed of calls without ``noise``; None draws a seed.

    Raises:
        ValueError: if ``rate`` is out of range.

    Reference: Huang et al., Deep Networks with Stochastic Depth (ECCV 2016). There, the whole batch shares one draw,
    and evaluation scales the branch instead.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.segmentation.networks.dropout import StochasticDepth
        >>> StochasticDepth(0.1)(tf.ones((2, 4, 4, 8)), training=True).shape
        TensorShape([2, 4, 4, 8])
    """

    def _mask_shape(self, channels: int) -> tuple[int, int, int]:
        return (1, 1, 1)
