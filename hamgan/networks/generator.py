"""The class-conditional generator."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from hamgan import random_streams
from hamgan.architecture import SMALLEST_FEATURE_MAP, generator_stages
from hamgan.layers import BatchNormalization, SNConv2D, SNDense
from hamgan.layers.activation import relu
from hamgan.layers.batch_normalization import EvaluationStatistics
from hamgan.layers.class_lookup import class_condition
from hamgan.layers.execution import execution
from hamgan.networks.blocks import GeneratorBlock
from hamgan.networks.inputs import GeneratorInputs
from hamgan.networks.network import Bases, Network
from hamgan.random_streams import Purpose


@keras.saving.register_keras_serializable(package="hamgan")
class Generator(Network):
    """Generates images in [-1, 1] from latent vectors and class labels.

    The constructor creates all weights.

    Args:
        resolution: height and width of the images: 32, 64, 128 or 256.
        num_classes: number of classes.
        channels: number of channels of the images: 3 for RGB, 1 for gray.
        base_channels: number of channels at full resolution; 64 in the published networks.
        z_dim: number of latent dimensions.
        batch_norm_momentum: decay of the moving averages, in [0, 1).
        context: context modules, each a mapping with "module" (a name in
            :data:`hamgan.networks.context.CONTEXT_MODULES`, such as "hamburger"), "resolution" (height and width of the
            feature maps that it processes, the output of a block) and arguments of the layer. In networks,
            ``evaluation_bases`` of a Hamburger is "random" by default.
        convolution_form: form of the convolutions, see :mod:`hamgan.layers.convolution`. None takes the current setting
            of :func:`hamgan.layers.execution.execution`.

    Raises:
        ValueError: if an argument is out of range, or no block has the resolution of a context module.

    Reference: Geng et al., Is Attention Better Than Matrix Decomposition? (ICLR 2021), appendix; Zhang et al.,
    Self-Attention Generative Adversarial Networks (ICML 2019).

    Example:
        >>> from hamgan.networks import Generator
        >>> hamburger = {"module": "hamburger", "resolution": 16, "latent_dim": 8, "rank": 4}
        >>> generator = Generator(resolution=32, num_classes=10, base_channels=4, context=[hamburger])
        >>> generator(*generator.draw_inputs(seed=0, count=2)).shape
        TensorShape([2, 32, 32, 3])
    """

    def __init__(
        self,
        *,
        resolution: int,
        num_classes: int,
        channels: int = 3,
        base_channels: int = 64,
        z_dim: int = 128,
        batch_norm_momentum: float = 0.999,
        context: Sequence[Mapping[str, Any]] = (),
        convolution_form: str | None = None,
        name: str = "generator",
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
        self.z_dim = z_dim
        self.batch_norm_momentum = batch_norm_momentum

        stages = generator_stages(resolution)
        widths = [base_channels * multiplier for _, multiplier in stages]
        common: dict[str, Any] = {"dtype": self.dtype_policy}
        batch_norm: dict[str, Any] = {"num_classes": num_classes, "batch_norm_momentum": batch_norm_momentum}
        with execution(convolution_form=self.convolution_form):
            self.stem_shape = (SMALLEST_FEATURE_MAP, SMALLEST_FEATURE_MAP, widths[0])
            self.dense = SNDense(SMALLEST_FEATURE_MAP**2 * widths[0], name="dense", **common)
            # A tuple, because tf.train.Checkpoint ignores lists in Keras objects.
            self.blocks = tuple(
                GeneratorBlock(width, name=f"block{index}", **batch_norm, **common)
                for index, width in enumerate(widths[1:], start=1)
            )
            self._create_context([size for size, _ in stages[1:]], batch_norm="conditional", **batch_norm)
            self.norm = BatchNormalization(momentum=batch_norm_momentum, name="norm", **common)
            # Checkpoints contain this name for any number of channels.
            self.to_rgb = SNConv2D(channels, 3, name="to_rgb", **common)
            self.build((None, z_dim))

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the weights of all sublayers."""
        self.input_spec = keras.InputSpec(ndim=2, axes={-1: self.z_dim})
        self.dense.build(input_shape)
        shape = self._build_blocks((None, *self.stem_shape))
        self.norm.build(shape)
        self.to_rgb.build(shape)

    def call(
        self,
        z: tf.Tensor,
        labels: tf.Tensor | None = None,
        initial_bases: Bases | None = None,
        training: bool | None = None,
        statistics: EvaluationStatistics = "moving",
        class_weights: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Generates images.

        Args:
            z: standard normal latent vectors, float, shape ``(batch, z_dim)``.
            labels: integers in [0, num_classes), shape ``(batch,)`` or ``(batch, 1)``; not used with ``class_weights``.
            initial_bases: sequence with the initial bases of each context module that has bases, or the bases of a
                single module. Those of a Hamburger have shape ``(batch * num_sections, latent_dim, rank)``. By default,
                the settings of each module determine them.
            training: whether to use batch statistics, and to update moving averages, singular vectors and running
                bases.
            statistics: batch normalisation statistics outside training, see
                :meth:`hamgan.layers.BatchNormalization.call`.
            class_weights: mixture of classes of each image, float32 or float64, shape ``(batch, num_classes)``; rows
                sum to 1. Conditional batch normalisation then averages the scales and offsets of the classes by these
                weights. A one-hot row gives the image of that label.

        Returns:
            Images in [-1, 1], shape ``(batch, resolution, resolution, channels)``, in the dtype of the variables.

        Raises:
            ValueError: if there is neither a valid label nor a valid row of class weights for each image.
        """
        condition = class_condition(labels, class_weights, self.num_classes, layer=self.name, examples=z)
        z = tf.cast(z, self.compute_dtype)
        hidden = tf.reshape(self.dense(z, training=training), (-1, *self.stem_shape))
        hidden = self._apply_blocks(
            hidden, training=training, initial_bases=initial_bases, statistics=statistics, **condition
        )
        hidden = relu(self.norm(hidden, training=training, statistics=statistics))
        return tf.cast(tf.tanh(self.to_rgb(hidden, training=training)), self.variable_dtype)

    def draw_inputs(
        self,
        seed: int | tf.Tensor,
        *,
        first: int | tf.Tensor = 0,
        count: int | tf.Tensor,
        labels: tf.Tensor | None = None,
        class_counts: Sequence[int] | None = None,
        truncation: float | tf.Tensor | None = None,
        training: bool = False,
        as_trained: bool = False,
    ) -> GeneratorInputs:
        """Draws the inputs of images ``first`` to ``first + count - 1``.

        The inputs of an image depend only on the seed, its index, the class counts and the truncation.

        Args:
            seed: integer seed, or key of a random stream from :func:`hamgan.random_streams.fold`.
            first: index of the first image.
            count: number of images.
            labels: labels to use, shape ``(count,)``; by default, random labels.
            class_counts: number of images of each class, in proportion to which random labels are drawn; None draws all
                classes equally often.
            truncation: bound t of the truncated normal distribution of z, which has values in [-t, t]; None does not
                truncate.
            training: mode of the call that the inputs are for; initial bases that are not random in it are left out.
            as_trained: whether modules whose bases :func:`hamgan.layers.fix_bases` fixed get random ones, as before.

        Returns:
            The positional arguments of ``call``.
        """
        key = random_streams.fold(seed)
        z = random_streams.draw(
            "normal",
            random_streams.fold(key, Purpose.Z),
            first=first,
            count=count,
            shape=(self.z_dim,),
            truncation=truncation,
        )
        if labels is None:
            labels = self.draw_labels(key, first=first, count=count, class_counts=class_counts)
        bases = self.draw_initial_bases(
            key, Purpose.GENERATOR_BASES, first=first, count=count, training=training, as_trained=as_trained
        )
        return GeneratorInputs(z, labels, bases)

    def draw_labels(
        self,
        seed: int | tf.Tensor,
        *,
        first: int | tf.Tensor = 0,
        count: int,
        class_counts: Sequence[int] | None = None,
    ) -> tf.Tensor:
        """Draws the random labels of :meth:`draw_inputs`.

        Args:
            seed: integer seed, or key of a random stream from :func:`hamgan.random_streams.fold`.
            first: index of the first image.
            count: number of images.
            class_counts: number of images of each class, in proportion to which labels are drawn; None draws all
                classes equally often.

        Returns:
            Labels, int32, shape ``(count,)``.
        """
        return random_streams.draw_labels(
            random_streams.fold(seed, Purpose.LABELS),
            first=first,
            count=count,
            num_classes=self.num_classes,
            class_counts=class_counts,
        )

    def input_signature(self) -> list[keras.InputSpec]:
        """Returns shape, dtype and name of z and the labels."""
        return [
            keras.InputSpec(shape=(None, self.z_dim), dtype=self.variable_dtype, name="z"),
            keras.InputSpec(shape=(None,), dtype="int32", name="labels"),
        ]

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...], *_: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        """Returns ``(batch, resolution, resolution, channels)``."""
        return (input_shape[0], self.resolution, self.resolution, self.channels)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "z_dim": self.z_dim, "batch_norm_momentum": self.batch_norm_momentum}
