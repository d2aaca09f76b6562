"""The Hamburger of LightHamHead and HamHead."""

from typing import Any

import keras
import tensorflow as tf

from hamgan import random_streams
from hamgan.layers.activation import relu
from hamgan.layers.hams import NMF
from hamgan.layers.input_shapes import image_channels
from hamgan.layers.sections import decompose_sections
from hamgan.segmentation.networks.chain import build_chain
from hamgan.segmentation.networks.convolution import Convolution
from hamgan.segmentation.networks.normalization import NUM_GROUPS, group_norm

Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable(package="hamgan")
class LightHamburger(keras.Layer):
    """Adds global context by NMF: ``relu(x + norm(upper_bread(nmf(relu(lower_bread(x))))))``.

    The breads are 1x1 convolutions, the lower one with a bias, and the normalisation is group normalisation. The NMF
    has the width of the inputs. All its iterations are differentiated, unless ``gradient`` is "one_step". Inputs and
    outputs have shape ``(batch, height, width, channels)``; height and width may be unknown.

    Args:
        rank: number of bases R. It does not change the weights, so that a checkpoint does not show it.
        num_steps: number of iterations K.
        evaluation_steps: number of iterations K outside training; None means ``num_steps``.
        groups: number of groups of the group normalisation, a divisor of the number of channels.
        bases: source of initial bases in training, see :class:`hamgan.layers.NMF`.
        evaluation_bases: source of initial bases outside training. With "fixed", results are deterministic; the
            published code draws them at each call ("random").
        gradient: part of the NMF that is differentiated, "unrolled" (all iterations, as published) or "one_step".
        seed: integer seed of the bases; None draws a seed.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Geng et al., Is Attention Better Than Matrix Decomposition? (ICLR 2021); Guo et al., SegNeXt
    (NeurIPS 2022).

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.segmentation.networks.light_hamburger import LightHamburger
        >>> LightHamburger(rank=4, groups=4)(tf.random.normal((2, 8, 8, 16))).shape
        TensorShape([2, 8, 8, 16])
    """

    def __init__(
        self,
        *,
        rank: int = 64,
        num_steps: int = 6,
        evaluation_steps: int | None = 7,
        groups: int = NUM_GROUPS,
        bases: str = "random",
        evaluation_bases: str = "fixed",
        gradient: str = "unrolled",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.autocast = False  # Autocast would round the bases; call() casts the images.
        self.groups = groups
        self.ham = NMF(
            rank=rank,
            num_steps=num_steps,
            evaluation_steps=evaluation_steps,
            bases=bases,
            evaluation_bases=evaluation_bases,
            gradient=gradient,
            rectify=False,
            normalize_bases=True,
            seed=seed,
            name="ham",
            dtype=self.dtype_policy,
            autocast=False,
        )

    def build(self, input_shape: Shape) -> None:
        """Creates the breads, the bases and the group normalisation."""
        channels = image_channels(self, input_shape)
        if channels % self.groups:
            raise ValueError(f"{self.name} expects a multiple of {self.groups} groups as channels, received {channels}")
        policy = self.dtype_policy
        self.lower_bread = Convolution(channels, 1, name="lower_bread", dtype=policy)
        self.upper_bread = Convolution(channels, 1, use_bias=False, name="upper_bread", dtype=policy)
        self.normalization = group_norm("norm", self.groups, policy)
        build_chain([self.lower_bread, self.upper_bread, self.normalization], input_shape)
        self.ham.build((None, None, channels))

    def draw_initial_bases(self, key: tf.Tensor, *, first: int | tf.Tensor, count: int | tf.Tensor) -> tf.Tensor:
        """Draws the initial bases of images ``first`` to ``first + count - 1``.

        Args:
            key: key of a random stream, from :func:`hamgan.random_streams.fold`.
            first: index of the first image.
            count: number of images.

        Returns:
            Tensor of shape ``(count, channels, rank)``.
        """
        shape = (self.input_spec.axes[-1], self.ham.rank)
        return random_streams.draw(self.ham.initial_distribution, key, first=first, count=count, shape=shape)

    def call(
        self, inputs: tf.Tensor, training: bool | None = None, initial_bases: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Adds global context to ``inputs``.

        Args:
            inputs: tensor of shape ``(batch, height, width, channels)``.
            training: whether to use ``bases`` and ``num_steps``, instead of ``evaluation_bases`` and
                ``evaluation_steps``.
            initial_bases: tensor of shape ``(batch, channels, rank)``; the layer L2-normalises it along the channels.
                By default, ``bases`` or ``evaluation_bases`` determines it.

        Returns:
            Tensor with the shape of the inputs.
        """
        inputs = tf.cast(inputs, self.compute_dtype)
        latent = relu(self.lower_bread(inputs))
        context = decompose_sections(self.ham, latent, 1, initial_bases=initial_bases, training=training)
        return relu(inputs + self.normalization(self.upper_bread(context)))

    def compute_output_shape(self, input_shape: Shape, *_: Shape) -> Shape:
        """Returns the input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "rank": self.ham.rank,
            "num_steps": self.ham.num_steps,
            "evaluation_steps": self.ham.evaluation_steps,
            "groups": self.groups,
            "bases": self.ham.bases,
            "evaluation_bases": self.ham.evaluation_bases,
            "gradient": self.ham.gradient,
            "seed": self.ham.seed,
        }
