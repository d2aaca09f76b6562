"""The class-conditional generator."""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from hamgan.architecture import (
    SMALLEST_FEATURE_MAP,
    check_hamburger_resolution,
    check_resolution,
    generator_stages,
)
from hamgan.layers import BatchNormalization, Hamburger, SNConv2D, SNDense
from hamgan.layers.activation import relu
from hamgan.layers.class_lookup import class_labels
from hamgan.networks.blocks import GeneratorBlock
from hamgan.networks.served import ServedModel


@keras.saving.register_keras_serializable(package="hamgan")
class Generator(ServedModel):
    """Latent vectors and labels to images in [-1, 1].

    Args:
        resolution: height and width of the images: 32, 64, 128 or 256.
        num_classes: labels are in [0, num_classes).
        base_channels: channels at full resolution ("ch"; 64 in the published networks).
        z_dim: width of the latent vector.
        batch_norm_momentum: decay of the moving averages.
        convolution_form: see :mod:`hamgan.layers.convolution`.
        recomputed_blocks: of how many blocks, from the last, the first convolution is done again in the backward pass
            on TPUs, for less memory. These have the largest images, and the fewest multiplications for each number.
        hamburger: arguments of :class:`hamgan.layers.Hamburger` (latent_dim, rank, ...), or None to leave it out. Here
            ``evaluation_bases`` is "random" unless it is given.
        hamburger_resolution: the feature map size at which it stands; a block's output.

    All weights exist after construction.

    Raises:
        ValueError: the resolution is not one of these, or no block puts out ``hamburger_resolution``.

    Reference: Geng et al. (ICLR 2021), appendix; Zhang et al., SAGAN (ICML 2019).
    """

    def __init__(
        self,
        *,
        resolution: int,
        num_classes: int,
        base_channels: int = 64,
        z_dim: int = 128,
        batch_norm_momentum: float = 0.999,
        convolution_form: str = "auto",
        recomputed_blocks: int = 0,
        hamburger: Mapping[str, Any] | None = None,
        hamburger_resolution: int = 32,
        name: str = "generator",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.autocast = False  # Labels that come as floats must not be rounded; call() casts z.
        check_resolution(resolution)
        stages = generator_stages(resolution)
        if hamburger is not None:
            check_hamburger_resolution(hamburger_resolution, stages[1:])
        self.resolution = resolution
        self.num_classes = num_classes
        self.base_channels = base_channels
        self.z_dim = z_dim
        self.batch_norm_momentum = batch_norm_momentum
        self.convolution_form = convolution_form
        self.recomputed_blocks = recomputed_blocks
        # As published; the trainer and the sampler bring bases of their own.
        self.hamburger_arguments = None if hamburger is None else {"evaluation_bases": "random", **hamburger}
        self.hamburger_resolution = hamburger_resolution

        common: dict[str, Any] = {"dtype": self.dtype_policy}
        widths = [base_channels * multiplier for _, multiplier in stages]
        self.stem_shape = (SMALLEST_FEATURE_MAP, SMALLEST_FEATURE_MAP, widths[0])
        self.dense = SNDense(SMALLEST_FEATURE_MAP**2 * widths[0], name="dense", **common)
        # A tuple: tf.train.Checkpoint passes silently over what a Keras object keeps in a list.
        self.blocks = tuple(
            GeneratorBlock(
                width,
                num_classes=num_classes,
                batch_norm_momentum=batch_norm_momentum,
                convolution_form=convolution_form,
                recompute=index >= len(widths) - recomputed_blocks,
                name=f"block{index}",
                **common,
            )
            for index, width in enumerate(widths[1:], start=1)
        )
        self.hamburger = None
        self.blocks_before_hamburger = 0
        if self.hamburger_arguments is not None:
            self.blocks_before_hamburger = [size for size, _ in stages].index(hamburger_resolution)
            self.hamburger = Hamburger(
                **self.hamburger_arguments,
                batch_norm="conditional",
                num_classes=num_classes,
                batch_norm_momentum=batch_norm_momentum,
                name="hamburger",
                **common,
            )
        self.norm = BatchNormalization(momentum=batch_norm_momentum, name="norm", **common)
        self.to_rgb = SNConv2D(3, 3, form=convolution_form, name="to_rgb", **common)
        self.build((None, z_dim))

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the weights of all sublayers."""
        self.input_spec = keras.InputSpec(ndim=2, axes={-1: self.z_dim})
        self.dense.build(input_shape)
        shape: tuple[int | None, ...] = (None, *self.stem_shape)
        for index, block in enumerate(self.blocks, start=1):
            block.build(shape)
            shape = block.compute_output_shape(shape)
            if self.hamburger is not None and index == self.blocks_before_hamburger:
                self.hamburger.build(shape)
        self.norm.build(shape)
        self.to_rgb.build(shape)

    def call(
        self,
        z: tf.Tensor,
        labels: tf.Tensor,
        training: bool | None = None,
        initial_bases: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Generates images.

        Args:
            z: float, shape ``(batch, z_dim)``, standard normal.
            labels: integers in [0, num_classes), shape ``(batch,)`` or ``(batch, 1)``.
            training: whether batch statistics are used and state is updated.
            initial_bases: initial bases of the Hamburger, ``(batch * num_sections, latent_dim, rank)``; if absent, the
                Hamburger finds its own.

        Returns:
            Images in [-1, 1], shape ``(batch, resolution, resolution, 3)``, in the variables' dtype.
        """
        if initial_bases is not None and self.hamburger is None:
            raise ValueError(f"{self.name} has no Hamburger and expects no initial_bases, received some")
        labels = class_labels(labels, self.num_classes, layer=self.name, examples=z)
        z = tf.cast(z, self.compute_dtype)
        hidden = tf.reshape(self.dense(z, training=training), (-1, *self.stem_shape))
        for index, block in enumerate(self.blocks, start=1):
            hidden = block(hidden, labels, training=training)
            if self.hamburger is not None and index == self.blocks_before_hamburger:
                hidden = self.hamburger(hidden, labels, training=training, initial_bases=initial_bases)
        hidden = self.to_rgb(relu(self.norm(hidden, training=training)), training=training)
        return tf.cast(tf.tanh(hidden), self.variable_dtype)

    def input_signature(self) -> list[keras.InputSpec]:
        """Returns the specifications of z and labels."""
        return [
            keras.InputSpec(shape=(None, self.z_dim), dtype=self.variable_dtype, name="z"),
            keras.InputSpec(shape=(None,), dtype="int32", name="labels"),
        ]

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...], *_: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        """Returns ``(batch, resolution, resolution, 3)``."""
        return (input_shape[0], self.resolution, self.resolution, 3)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "resolution": self.resolution,
            "num_classes": self.num_classes,
            "base_channels": self.base_channels,
            "z_dim": self.z_dim,
            "batch_norm_momentum": self.batch_norm_momentum,
            "convolution_form": self.convolution_form,
            "recomputed_blocks": self.recomputed_blocks,
            "hamburger": self.hamburger_arguments,
            "hamburger_resolution": self.hamburger_resolution,
        }
