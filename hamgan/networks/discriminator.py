"""The class-conditional (projection) discriminator."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from hamgan.architecture import discriminator_stages
from hamgan.layers import SNDense, SNEmbedding
from hamgan.layers.activation import relu
from hamgan.layers.class_lookup import class_labels
from hamgan.layers.execution import execution
from hamgan.networks.blocks import DiscriminatorBlock
from hamgan.networks.network import Bases, Network


@keras.saving.register_keras_serializable(package="hamgan")
class Discriminator(Network):
    """Scores images given class labels: ``dense(h) + <h, embedding(label)>``, with features h of the image.

    The constructor creates all weights.

    Args:
        resolution: height and width of the images: 32, 64, 128 or 256.
        num_classes: number of classes.
        channels: number of channels of the images: 3 for RGB, 1 for gray.
        base_channels: number of channels after the first block; 64 in the published networks.
        context: context modules, as in :class:`hamgan.networks.Generator`. They follow blocks with pooling.
        convolution_form: form of the convolutions, see :mod:`hamgan.layers.convolution`. None takes the current setting
            of :func:`hamgan.layers.execution.execution`.

    Raises:
        ValueError: if an argument is out of range, or no block with pooling has the resolution of a context module.

    Reference: Geng et al., Is Attention Better Than Matrix Decomposition? (ICLR 2021), appendix; Miyato and Koyama,
    cGANs with Projection Discriminator (ICLR 2018).

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.networks import Discriminator
        >>> discriminator = Discriminator(resolution=32, num_classes=10, base_channels=4)
        >>> discriminator(tf.zeros((2, 32, 32, 3)), tf.constant([3, 7])).shape
        TensorShape([2, 1])
    """

    def __init__(
        self,
        *,
        resolution: int,
        num_classes: int,
        channels: int = 3,
        base_channels: int = 64,
        context: Sequence[Mapping[str, Any]] = (),
        convolution_form: str | None = None,
        name: str = "discriminator",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            resolution=resolution,
            num_classes=num_classes,
            channels=channels,
            base_channels=base_channels,
            context=context,
            convolution_form=convolution_form,
            name=name,
            **kwargs,
        )
        stages = discriminator_stages(resolution)
        widths = [base_channels * multiplier for _, multiplier in stages]
        common: dict[str, Any] = {"dtype": self.dtype_policy}
        with execution(convolution_form=self.convolution_form):
            # A tuple, because tf.train.Checkpoint ignores lists in Keras objects.
            self.blocks = (
                *(
                    DiscriminatorBlock(width, first=index == 1, name=f"block{index}", **common)
                    for index, width in enumerate(widths, start=1)
                ),
                DiscriminatorBlock(widths[-1], pool=False, name=f"block{len(widths) + 1}", **common),
            )
            self._create_context([size for size, _ in stages])
            self.dense = SNDense(1, name="dense", **common)
            self.embedding = SNEmbedding(num_classes, widths[-1], name="embedding", **common)
            self.build((None, resolution, resolution, channels))

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the weights of all sublayers."""
        self.input_spec = keras.InputSpec(shape=(None, self.resolution, self.resolution, self.channels))
        shape = self._build_blocks(input_shape)
        self.dense.build((None, shape[-1]))
        self.embedding.build((None,))

    def call(
        self,
        images: tf.Tensor,
        labels: tf.Tensor,
        initial_bases: Bases | None = None,
        training: bool | None = None,
    ) -> tf.Tensor:
        """Scores images.

        Args:
            images: float tensor in [-1, 1], shape ``(batch, resolution, resolution, channels)``.
            labels: integers in [0, num_classes), shape ``(batch,)`` or ``(batch, 1)``.
            initial_bases: initial bases of the context modules, as in :meth:`hamgan.networks.Generator.call`.
            training: whether to update the singular vectors.

        Returns:
            Logits, higher for real images, shape ``(batch, 1)``, in the dtype of the variables.
        """
        labels = class_labels(labels, self.num_classes, layer=self.name, examples=images)
        hidden = tf.cast(images, self.compute_dtype)
        hidden = self._apply_blocks(hidden, training=training, initial_bases=initial_bases)
        features = tf.reduce_sum(relu(hidden), (1, 2))
        projection = tf.reduce_sum(features * self.embedding(labels, training=training), axis=1, keepdims=True)
        return tf.cast(self.dense(features, training=training) + projection, self.variable_dtype)

    def input_signature(self) -> list[keras.InputSpec]:
        """Returns shape, dtype and name of the images and labels."""
        images = (None, self.resolution, self.resolution, self.channels)
        return [
            keras.InputSpec(shape=images, dtype=self.variable_dtype, name="images"),
            keras.InputSpec(shape=(None,), dtype="int32", name="labels"),
        ]

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...], *_: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        """Returns ``(batch, 1)``."""
        return (input_shape[0], 1)
