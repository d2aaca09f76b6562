"""The head of HamNet: a Hamburger block between 3x3 convolutions with batch normalisation."""

import inspect
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from hamgan import random_streams
from hamgan.layers.activation import relu
from hamgan.layers.input_shapes import image_channels
from hamgan.layers.segmentation_hamburger import SegmentationHamburger
from hamgan.segmentation.networks.chain import build_chain, unbuilt_layer
from hamgan.segmentation.networks.convolution import Convolution
from hamgan.segmentation.networks.dropout import Noise
from hamgan.segmentation.networks.head import SegmentationHead, Shape, feature_tensors, single_feature_shape
from hamgan.segmentation.networks.normalization import HAMNET_NORM_MOMENTUM, batch_norm


@keras.saving.register_keras_serializable(package="hamgan")
class ConvolutionBatchNorm(keras.Layer):
    """3x3 convolution without bias, batch normalisation and relu.

    Args:
        filters: number of output channels.
        batch_norm_momentum: decay of the moving averages, in [0, 1).
    """

    def __init__(self, filters: int, *, batch_norm_momentum: float = HAMNET_NORM_MOMENTUM, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.batch_norm_momentum = batch_norm_momentum
        self.conv = Convolution(
            filters, 3, use_bias=False, start_values="fan_in_uniform", name="conv", dtype=self.dtype_policy
        )
        self.norm = batch_norm("norm", batch_norm_momentum, self.dtype_policy)

    def build(self, input_shape: Shape) -> None:
        """Creates the weights of both layers."""
        image_channels(self, input_shape)
        build_chain([self.conv, self.norm], input_shape)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Applies the layers to images of shape ``(batch, height, width, channels)``."""
        return relu(self.norm(self.conv(inputs), training=training))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns ``(batch, height, width, filters)``."""
        return self.conv.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "filters": self.filters, "batch_norm_momentum": self.batch_norm_momentum}


@keras.saving.register_keras_serializable(package="hamgan")
class HamNetHead(SegmentationHead):
    """Head of HamNet: squeeze, context, align, dropout of whole channels and classifier.

    ``squeeze`` and ``align`` are 3x3 convolutions with batch normalisation and relu; ``classifier`` is a 1x1
    convolution with a bias.

    Args:
        num_classes: number of classes.
        context: layer that adds global context to images of ``channels`` channels, such as
            :class:`hamgan.layers.SegmentationHamburger` or any of the context modules of ``hamgan.layers``. None leaves
            it out, for comparison.
        channels: number of channels after ``squeeze``.
        align_channels: number of channels after ``align``.
        dropout_rate: probability of dropping a channel before the classifier in training, in [0, 1).
        batch_norm_momentum: decay of the moving averages of ``squeeze`` and ``align``, in [0, 1).

    Raises:
        ValueError: if an argument is out of range.

    Reference: Geng et al., Is Attention Better Than Matrix Decomposition? (ICLR 2021).

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.layers import SegmentationHamburger
        >>> from hamgan.segmentation import HamNetHead
        >>> hamburger = SegmentationHamburger(latent_dim=16, rank=4, name="hamburger")
        >>> head = HamNetHead(num_classes=5, context=hamburger, channels=16, align_channels=8)
        >>> head(tf.zeros((2, 9, 9, 64))).shape
        TensorShape([2, 9, 9, 5])
    """

    def __init__(
        self,
        num_classes: int,
        *,
        context: keras.Layer | None,
        channels: int = 512,
        align_channels: int = 256,
        dropout_rate: float = 0.1,
        batch_norm_momentum: float = HAMNET_NORM_MOMENTUM,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, dropout_rate=dropout_rate, start_values="fan_in_uniform", **kwargs)
        self.channels = channels
        self.align_channels = align_channels
        self.batch_norm_momentum = batch_norm_momentum
        common: dict[str, Any] = {"batch_norm_momentum": batch_norm_momentum, "dtype": self.dtype_policy}
        self.squeeze = ConvolutionBatchNorm(channels, name="squeeze", **common)
        self.context = context
        self.align = ConvolutionBatchNorm(align_channels, name="align", **common)
        self._context_parameters = () if context is None else tuple(inspect.signature(context.call).parameters)

    def build(self, input_shape: Any) -> None:
        """Creates the weights of all sublayers."""
        shape = single_feature_shape(self, input_shape)
        context = [] if self.context is None else [self.context]
        build_chain([self.squeeze, *context, self.align, self.dropout, self.classifier], shape)

    def call(
        self,
        inputs: tf.Tensor | Sequence[tf.Tensor],
        training: bool | None = None,
        initial_bases: Any = None,
        noise: Noise | None = None,
    ) -> tf.Tensor:
        """Computes logits; see :meth:`hamgan.segmentation.networks.head.SegmentationHead.call`.

        Args:
            inputs: features of shape ``(batch, height, width, channels)``, or a list of one such tensor.
            training: whether to use dropout and batch statistics, and the training settings of the context.
            initial_bases: the ``initial_bases`` argument of the context.
            noise: random stream of the batch.

        Returns:
            Tensor of shape ``(batch, height, width, num_classes)``.

        Raises:
            ValueError: if ``initial_bases`` are given, but the context takes none.
        """
        (features,) = feature_tensors(inputs, self.compute_dtype)
        hidden = self.squeeze(features, training=training)
        arguments: dict[str, Any] = {"training": training} if "training" in self._context_parameters else {}
        if initial_bases is not None:
            if "initial_bases" not in self._context_parameters:
                raise ValueError(f"the context of {self.name} expects no initial_bases; call it without them")
            arguments["initial_bases"] = initial_bases
        if self.context is not None:
            hidden = self.context(hidden, **arguments)
        return self.classify(self.align(hidden, training=training), training, noise)

    def draw_initial_bases(
        self,
        key: tf.Tensor,
        *,
        first: int | tf.Tensor,
        count: int | tf.Tensor,
        size: tuple[int, int] | None = None,
    ) -> Any:
        """Draws the initial bases of a Hamburger block; see :class:`SegmentationHead`.

        Returns:
            Tensor of shape ``(count * num_sections, D, rank)``, in the dual form a pair of these, or None if the
            context is not a :class:`hamgan.layers.SegmentationHamburger`.

        Raises:
            ValueError: if the channel form has no ``size``.
        """
        block = self.context
        if not isinstance(block, SegmentationHamburger):
            return None
        if block.channel_ham is not None and size is None:
            raise ValueError(f"the bases of form={block.form!r} depend on the size of the features; pass size")
        drawn = []
        for index, ham in enumerate((block.spatial_ham, block.channel_ham)):
            if ham is not None:
                rows = block.latent_dim if index == 0 or size is None else size[0] * size[1]
                shape = (block.num_sections, rows, block.rank)
                bases = random_streams.draw(
                    ham.initial_distribution,
                    random_streams.fold(key, index),
                    first=first,
                    count=count,
                    shape=shape,
                )
                drawn.append(tf.reshape(bases, (-1, *shape[1:])))
        return drawn[0] if len(drawn) == 1 else tuple(drawn)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "context": None if self.context is None else keras.saving.serialize_keras_object(self.context),
            "channels": self.channels,
            "align_channels": self.align_channels,
            "batch_norm_momentum": self.batch_norm_momentum,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "HamNetHead":
        """Creates a head from its config."""
        return super().from_config({**config, "context": unbuilt_layer(config["context"])})
