"""LightHamHead, the head of SegNeXt, and HamHead, the head of HamNet on ADE20K: NMF and group normalisation."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from hamgan.layers.activation import relu
from hamgan.layers.bilinear_resize import bilinear_resize
from hamgan.layers.input_shapes import image_channels
from hamgan.segmentation.networks.chain import build_chain
from hamgan.segmentation.networks.convolution import Convolution
from hamgan.segmentation.networks.dropout import Noise
from hamgan.segmentation.networks.head import (
    SegmentationHead,
    Shape,
    feature_shapes,
    feature_tensors,
    single_feature_shape,
)
from hamgan.segmentation.networks.light_hamburger import LightHamburger
from hamgan.segmentation.networks.normalization import NUM_GROUPS, group_norm


@keras.saving.register_keras_serializable(package="hamgan")
class ConvolutionGroupNorm(keras.Layer):
    """Convolution without bias, group normalisation and relu.

    Args:
        filters: number of output channels.
        kernel_size: height and width of the kernel; odd.
        groups: number of groups, a divisor of ``filters``.
    """

    def __init__(self, filters: int, kernel_size: int, *, groups: int = NUM_GROUPS, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if groups < 1 or filters % groups:
            raise ValueError(f"groups must divide the {filters} channels, received {groups}")
        self.filters = filters
        self.kernel_size = kernel_size
        self.groups = groups
        self.conv = Convolution(filters, kernel_size, use_bias=False, name="conv", dtype=self.dtype_policy)
        self.norm = group_norm("norm", groups, self.dtype_policy)

    def build(self, input_shape: Shape) -> None:
        """Creates the weights of both layers."""
        image_channels(self, input_shape)
        build_chain([self.conv, self.norm], input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Applies the layers to images of shape ``(batch, height, width, channels)``."""
        return relu(self.norm(self.conv(inputs)))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns ``(batch, height, width, filters)``."""
        return self.conv.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "groups": self.groups,
        }


class _NMFHead(SegmentationHead):
    """Base class: squeeze, Hamburger, align.

    Args:
        num_classes: number of classes.
        channels: number of channels after ``align``.
        ham_channels: number of channels of the Hamburger; None means ``channels``.
        kernel_size: size of the kernels of ``squeeze`` and ``align``.
        groups: number of groups of each group normalisation.
        dropout_rate: probability of dropping a channel before the classifier in training.
        rank, num_steps, evaluation_steps, bases, evaluation_bases, gradient, seed: see
            :class:`hamgan.segmentation.networks.light_hamburger.LightHamburger`.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        channels: int,
        ham_channels: int | None,
        kernel_size: int,
        rank: int,
        num_steps: int = 6,
        evaluation_steps: int | None = 7,
        groups: int = NUM_GROUPS,
        dropout_rate: float = 0.1,
        bases: str = "random",
        evaluation_bases: str = "fixed",
        gradient: str = "unrolled",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, dropout_rate=dropout_rate, start_values="small_normal", **kwargs)
        self.channels = channels
        self.ham_channels = ham_channels
        policy = self.dtype_policy
        self.groups = groups
        inner = channels if ham_channels is None else ham_channels
        self.squeeze = ConvolutionGroupNorm(inner, kernel_size, groups=groups, name="squeeze", dtype=policy)
        self.hamburger = LightHamburger(
            rank=rank,
            num_steps=num_steps,
            evaluation_steps=evaluation_steps,
            groups=groups,
            bases=bases,
            evaluation_bases=evaluation_bases,
            gradient=gradient,
            seed=seed,
            name="hamburger",
            dtype=policy,
        )
        self.align = ConvolutionGroupNorm(channels, kernel_size, groups=groups, name="align", dtype=policy)

    def draw_initial_bases(
        self,
        key: tf.Tensor,
        *,
        first: int | tf.Tensor,
        count: int | tf.Tensor,
        size: tuple[int, int] | None = None,
    ) -> tf.Tensor:
        """Draws initial bases of shape ``(count, ham_channels, rank)``; see :class:`SegmentationHead`."""
        return self.hamburger.draw_initial_bases(key, first=first, count=count)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        inner = self.hamburger.get_config()
        names = ("rank", "num_steps", "evaluation_steps", "groups", "bases", "evaluation_bases", "gradient", "seed")
        return {
            **super().get_config(),
            "channels": self.channels,
            "ham_channels": self.ham_channels,
            **{name: inner[name] for name in names},
        }


@keras.saving.register_keras_serializable(package="hamgan")
class LightHamHead(_NMFHead):
    """Head of SegNeXt: context by NMF on features of several stages.

    Bilinear interpolation (corners not aligned) brings all features to the size of the first; they are concatenated.
    ``squeeze`` is a 1x1 convolution with group normalisation and relu, followed by a
    :class:`hamgan.segmentation.networks.light_hamburger.LightHamburger`, ``align`` (like ``squeeze``), dropout of whole
    channels and ``classifier``, a 1x1 convolution with a bias.

    Args:
        num_classes: number of classes.
        rank: number of bases R. It does not change the weights, so that a checkpoint does not show it: 16 in SegNeXt-T
            and S, 64 in B and L.
        channels: number of channels after ``align``.
        ham_channels: number of channels of the Hamburger; None means ``channels``.
        kwargs: ``num_steps`` (6), ``evaluation_steps`` (7), ``groups`` (32), ``dropout_rate`` (0.1), ``bases``
            ("random"), ``evaluation_bases`` ("fixed"), ``gradient`` ("unrolled") and ``seed``, see
            :class:`hamgan.segmentation.networks.light_hamburger.LightHamburger`.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Guo et al., SegNeXt (NeurIPS 2022). Its NMF starts from random bases in evaluation, too:
    ``evaluation_bases="random"``.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.segmentation import LightHamHead
        >>> head = LightHamHead(num_classes=5, rank=4, channels=32)
        >>> head([tf.zeros((2, 16, 16, 8)), tf.zeros((2, 8, 8, 12)), tf.zeros((2, 4, 4, 16))]).shape
        TensorShape([2, 16, 16, 5])
    """

    def __init__(
        self,
        num_classes: int,
        *,
        rank: int = 64,
        channels: int = 512,
        ham_channels: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, rank=rank, channels=channels, ham_channels=ham_channels, kernel_size=1, **kwargs)

    def build(self, input_shape: Any) -> None:
        """Creates the weights of all sublayers."""
        shapes = feature_shapes(input_shape)
        channels = sum(image_channels(self, shape) for shape in shapes)
        self.input_spec = None  # That of a single tensor.
        build_chain(
            [self.squeeze, self.hamburger, self.align, self.dropout, self.classifier], (*shapes[0][:3], channels)
        )

    def call(
        self,
        inputs: tf.Tensor | Sequence[tf.Tensor],
        training: bool | None = None,
        initial_bases: tf.Tensor | None = None,
        noise: Noise | None = None,
    ) -> tf.Tensor:
        """Computes logits; see :meth:`hamgan.segmentation.networks.head.SegmentationHead.call`.

        Args:
            inputs: list of features of shape ``(batch, height, width, channels)``, from fine to coarse.
            training: whether to use dropout, ``bases`` and ``num_steps``.
            initial_bases: tensor of shape ``(batch, ham_channels, rank)``.
            noise: random stream of the batch.

        Returns:
            Tensor of shape ``(batch, height, width, num_classes)``, at the size of the first features.
        """
        first, *others = feature_tensors(inputs, self.compute_dtype)
        shape = tf.shape(first)
        size = tuple(first.shape[axis] or shape[axis] for axis in (1, 2))
        features = tf.concat([first, *(bilinear_resize(each, size, align_corners=False) for each in others)], axis=-1)
        hidden = self.hamburger(self.squeeze(features), training=training, initial_bases=initial_bases)
        return self.classify(self.align(hidden), training, noise)


@keras.saving.register_keras_serializable(package="hamgan")
class HamHead(_NMFHead):
    """Head of HamNet on ADE20K: context by NMF between 3x3 convolutions.

    ``squeeze`` is a 3x3 convolution with group normalisation and relu, followed by a
    :class:`hamgan.segmentation.networks.light_hamburger.LightHamburger`, ``align`` (like ``squeeze``), dropout of whole
    channels and ``classifier``, a 1x1 convolution with a bias. With ``concat`` (HamNet+), the concatenation of the
    inputs and the result of ``align`` goes through a further such convolution, ``fuse``.

    Args:
        num_classes: number of classes.
        rank: number of bases R. It does not change the weights, so that a checkpoint does not show it.
        channels: number of channels after ``align``.
        ham_channels: number of channels of the Hamburger; None means ``channels``.
        concat: whether to concatenate the inputs after ``align``.
        kwargs: further arguments, as of :class:`LightHamHead`.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Geng et al., Is Attention Better Than Matrix Decomposition? (ICLR 2021); the head is part of the authors'
    later code for ADE20K.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.segmentation import HamHead
        >>> HamHead(num_classes=5, rank=4, channels=32, concat=True)(tf.zeros((2, 8, 8, 64))).shape
        TensorShape([2, 8, 8, 5])
    """

    def __init__(
        self,
        num_classes: int,
        *,
        rank: int = 64,
        channels: int = 512,
        ham_channels: int | None = None,
        concat: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, rank=rank, channels=channels, ham_channels=ham_channels, kernel_size=3, **kwargs)
        self.concat = concat
        self.fuse = (
            ConvolutionGroupNorm(channels, 3, groups=self.groups, name="fuse", dtype=self.dtype_policy)
            if concat
            else None
        )

    def build(self, input_shape: Any) -> None:
        """Creates the weights of all sublayers."""
        shape = single_feature_shape(self, input_shape)
        channels = image_channels(self, shape)
        self.input_spec = None  # A list of one tensor is accepted, too.
        shape = build_chain([self.squeeze, self.hamburger, self.align], shape)
        if self.fuse is not None:
            shape = build_chain([self.fuse], (*shape[:3], channels + self.channels))
        build_chain([self.dropout, self.classifier], shape)

    def call(
        self,
        inputs: tf.Tensor | Sequence[tf.Tensor],
        training: bool | None = None,
        initial_bases: tf.Tensor | None = None,
        noise: Noise | None = None,
    ) -> tf.Tensor:
        """Computes logits; see :meth:`hamgan.segmentation.networks.head.SegmentationHead.call`.

        Args:
            inputs: features of shape ``(batch, height, width, channels)``, or a list of one such tensor.
            training: whether to use dropout, ``bases`` and ``num_steps``.
            initial_bases: tensor of shape ``(batch, ham_channels, rank)``.
            noise: random stream of the batch.

        Returns:
            Tensor of shape ``(batch, height, width, num_classes)``.
        """
        (features,) = feature_tensors(inputs, self.compute_dtype)
        hidden = self.hamburger(self.squeeze(features), training=training, initial_bases=initial_bases)
        hidden = self.align(hidden)
        if self.fuse is not None:
            hidden = self.fuse(tf.concat([features, hidden], axis=-1))
        return self.classify(hidden, training, noise)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "concat": self.concat}
