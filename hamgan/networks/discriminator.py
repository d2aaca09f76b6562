"""The class-conditional (projection) discriminator."""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from hamgan.architecture import check_hamburger_resolution, check_resolution, discriminator_stages
from hamgan.layers import Hamburger, SNDense, SNEmbedding
from hamgan.layers.activation import relu
from hamgan.layers.class_lookup import class_labels
from hamgan.networks.blocks import DiscriminatorBlock
from hamgan.networks.served import ServedModel


@keras.saving.register_keras_serializable(package="hamgan")
class Discriminator(ServedModel):
    """Images and labels to one logit each: dense(h) + <h, embedding(label)>.

    Args:
        resolution: height and width of the images: 32, 64, 128 or 256.
        num_classes: labels are in [0, num_classes).
        base_channels: channels after the first block ("ch"; 64 in the published networks).
        convolution_form: see :mod:`hamgan.layers.convolution`.
        hamburger: arguments of :class:`hamgan.layers.Hamburger` (latent_dim, rank, ...), or None to leave it out. Here
            ``evaluation_bases`` is "random" unless it is given.
        hamburger_resolution: the feature map size at which it stands; a pooling block's output.

    All weights exist after construction.

    Raises:
        ValueError: the resolution is not one of these, or no block puts out ``hamburger_resolution``.

    Reference: Geng et al. (ICLR 2021), appendix; Miyato and Koyama, cGANs with Projection Discriminator (ICLR 2018).
    """

    def __init__(
        self,
        *,
        resolution: int,
        num_classes: int,
        base_channels: int = 64,
        convolution_form: str = "auto",
        hamburger: Mapping[str, Any] | None = None,
        hamburger_resolution: int = 32,
        name: str = "discriminator",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.autocast = False  # Labels that come as floats must not be rounded; call() casts the images.
        check_resolution(resolution)
        stages = discriminator_stages(resolution)
        if hamburger is not None:
            check_hamburger_resolution(hamburger_resolution, stages)
        self.resolution = resolution
        self.num_classes = num_classes
        self.base_channels = base_channels
        self.convolution_form = convolution_form
        # As published; the trainer and the sampler bring bases of their own.
        self.hamburger_arguments = None if hamburger is None else {"evaluation_bases": "random", **hamburger}
        self.hamburger_resolution = hamburger_resolution

        common: dict[str, Any] = {"dtype": self.dtype_policy}
        block: dict[str, Any] = {"convolution_form": convolution_form, **common}
        widths = [base_channels * multiplier for _, multiplier in stages]
        # A tuple: tf.train.Checkpoint passes silently over what a Keras object keeps in a list.
        self.blocks = (
            *(
                DiscriminatorBlock(width, first=index == 1, name=f"block{index}", **block)
                for index, width in enumerate(widths, start=1)
            ),
            DiscriminatorBlock(widths[-1], pool=False, name=f"block{len(widths) + 1}", **block),
        )
        self.hamburger = None
        self.blocks_before_hamburger = 0
        if self.hamburger_arguments is not None:
            self.blocks_before_hamburger = [size for size, _ in stages].index(hamburger_resolution) + 1
            self.hamburger = Hamburger(**self.hamburger_arguments, name="hamburger", **common)
        self.dense = SNDense(1, name="dense", **common)
        self.embedding = SNEmbedding(num_classes, widths[-1], name="embedding", **common)
        self.build((None, resolution, resolution, 3))

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the weights of all sublayers."""
        self.input_spec = keras.InputSpec(shape=(None, self.resolution, self.resolution, 3))
        shape = input_shape
        for index, block in enumerate(self.blocks, start=1):
            block.build(shape)
            shape = block.compute_output_shape(shape)
            if self.hamburger is not None and index == self.blocks_before_hamburger:
                self.hamburger.build(shape)
        self.dense.build((None, shape[-1]))
        self.embedding.build((None,))

    def call(
        self,
        images: tf.Tensor,
        labels: tf.Tensor,
        training: bool | None = None,
        initial_bases: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Scores images.

        Args:
            images: float in [-1, 1], shape ``(batch, resolution, resolution, 3)``.
            labels: integers in [0, num_classes), shape ``(batch,)`` or ``(batch, 1)``.
            training: whether state (the singular vectors) is updated.
            initial_bases: initial bases of the Hamburger, ``(batch * num_sections, latent_dim, rank)``; if absent, the
                Hamburger finds its own.

        Returns:
            Logits, shape ``(batch, 1)``, in the variables' dtype: high for real.
        """
        if initial_bases is not None and self.hamburger is None:
            raise ValueError(f"{self.name} has no Hamburger and expects no initial_bases, received some")
        labels = class_labels(labels, self.num_classes, layer=self.name, examples=images)
        hidden = tf.cast(images, self.compute_dtype)
        for index, block in enumerate(self.blocks, start=1):
            hidden = block(hidden, training=training)
            if self.hamburger is not None and index == self.blocks_before_hamburger:
                hidden = self.hamburger(hidden, training=training, initial_bases=initial_bases)
        features = tf.reduce_sum(relu(hidden), (1, 2))
        projection = tf.reduce_sum(features * self.embedding(labels, training=training), axis=1, keepdims=True)
        return tf.cast(self.dense(features, training=training) + projection, self.variable_dtype)

    def input_signature(self) -> list[keras.InputSpec]:
        """Returns the specifications of images and labels."""
        images = (None, self.resolution, self.resolution, 3)
        return [
            keras.InputSpec(shape=images, dtype=self.variable_dtype, name="images"),
            keras.InputSpec(shape=(None,), dtype="int32", name="labels"),
        ]

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...], *_: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        """Returns ``(batch, 1)``."""
        return (input_shape[0], 1)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "resolution": self.resolution,
            "num_classes": self.num_classes,
            "base_channels": self.base_channels,
            "convolution_form": self.convolution_form,
            "hamburger": self.hamburger_arguments,
            "hamburger_resolution": self.hamburger_resolution,
        }
