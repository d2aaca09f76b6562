"""Hamburger: a residual block with a matrix decomposition between linear layers."""

from typing import Any

import keras
import tensorflow as tf

from hamgan.architecture import HAMBURGER_VERSIONS
from hamgan.layers.activation import relu
from hamgan.layers.batch_normalization import EvaluationStatistics
from hamgan.layers.context.normalized import NormalizedContext
from hamgan.layers.hams import make_ham
from hamgan.layers.input_shapes import image_channels
from hamgan.layers.sections import decompose_sections
from hamgan.layers.spectral_normalization import SNConv2D


@keras.saving.register_keras_serializable(package="hamgan")
class Hamburger(NormalizedContext):
    """Adds global context to images by matrix decomposition: ``x + sigma * upper_bread(ham(lower_bread(x)))``.

    Inputs and outputs have shape ``(batch, height, width, channels)``; height and width may be unknown. The two
    versions apply these layers, where C is the number of channels:

    - "v1": lower bread (1x1 convolution to S * D channels), ham, upper bread (1x1 to C), batch normalisation.
    - "v2": lower bread, ham, cheese (1x1 to C), batch normalisation, relu, upper bread (1x1 to C).

    The ham decomposes each of S sections of D channels. The convolutions have no bias, and their kernels are divided by
    the spectral norm. sigma is a trainable scalar, initially 0.

    Args:
        latent_dim: number of channels D of each section.
        rank: number of bases R.
        num_steps: number of iterations K of the ham.
        evaluation_steps: number of iterations K outside training; None means ``num_steps``.
        num_sections: number of sections S, which are decomposed independently.
        ham: matrix decomposition: "nmf", "cd" (concept decomposition) or "vq" (vector quantisation).
        version: order of the layers, "v1" or "v2".
        batch_norm: batch normalisation: None (as in the discriminator), "plain", or "conditional" (as in the
            generator; calls then require labels).
        num_classes: number of classes; only with conditional batch normalisation.
        batch_norm_momentum: decay of the moving averages, in [0, 1).
        bases: source of initial bases in training: "random" (drawn at each call, as published), "fixed" (drawn once
            and stored in a weight) or "running" (a moving average of final bases).
        evaluation_bases: source of initial bases outside training, one of the same. "fixed" and "running" make results
            deterministic, and models exportable to TFLite and ONNX. :func:`hamgan.layers.fix_bases` converts a trained
            model with random bases.
        bases_momentum: decay of the running bases, in [0, 1).
        gradient: part of the ham that is differentiated: "one_step" (the last update) or "unrolled" (all iterations).
        rectify: whether to apply relu to the inputs of the ham; "nmf" only, True by default.
        normalize_bases: whether to L2-normalise the initial bases; "nmf" only, False by default.
        inverse_temperature: factor of the scores inside the softmax; "cd" and "vq" only, 100 by default.
        ridge: weight of the identity in the ridge regression; "cd" only, 0.01 by default.
        seed: integer seed of the bases; None draws a seed. Bases depend on the seed and the layer's path.

    Raises:
        ValueError: if an argument is out of range, or does not apply to the chosen ham or batch normalisation.

    Reference: Geng et al., Is Attention Better Than Matrix Decomposition? (ICLR 2021), section 2.3 and appendix.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.layers import Hamburger
        >>> hamburger = Hamburger(latent_dim=8, rank=4, seed=0)
        >>> hamburger(tf.random.normal((2, 8, 8, 16))).shape
        TensorShape([2, 8, 8, 16])
    """

    has_bases = True

    def __init__(
        self,
        latent_dim: int,
        rank: int,
        *,
        num_steps: int = 6,
        evaluation_steps: int | None = None,
        num_sections: int = 1,
        ham: str = "nmf",
        version: str = "v1",
        batch_norm: str | None = None,
        num_classes: int | None = None,
        batch_norm_momentum: float = 0.999,
        bases: str = "random",
        evaluation_bases: str = "fixed",
        bases_momentum: float = 0.1,
        gradient: str = "one_step",
        rectify: bool | None = None,
        normalize_bases: bool | None = None,
        inverse_temperature: float | None = None,
        ridge: float | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            batch_norm=batch_norm, num_classes=num_classes, batch_norm_momentum=batch_norm_momentum, **kwargs
        )
        if version not in HAMBURGER_VERSIONS:
            raise ValueError(f"version must be one of {HAMBURGER_VERSIONS}, received {version!r}")
        if latent_dim < 1 or num_sections < 1:
            raise ValueError(f"latent_dim and num_sections must be positive, received {latent_dim} and {num_sections}")
        self.latent_dim = latent_dim
        self.num_sections = num_sections
        self.ham_name = ham
        self.version = version
        # Settings that only some hams have; None means the ham's default.
        self.ham_settings: dict[str, Any] = {
            "rectify": rectify,
            "normalize_bases": normalize_bases,
            "inverse_temperature": inverse_temperature,
            "ridge": ridge,
        }
        self.ham = make_ham(
            ham,
            self.ham_settings,
            rank=rank,
            num_steps=num_steps,
            evaluation_steps=evaluation_steps,
            num_sections=num_sections,
            bases=bases,
            evaluation_bases=evaluation_bases,
            bases_momentum=bases_momentum,
            gradient=gradient,
            seed=seed,
            name="ham",
            dtype=self.dtype_policy,
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the breads, the cheese, the batch normalisation and sigma."""
        channels = image_channels(self, input_shape)
        inner = self.num_sections * self.latent_dim

        def conv(name: str, inputs: int, outputs: int) -> SNConv2D:
            layer = SNConv2D(outputs, 1, use_bias=False, norm_floor=0.0, name=name, dtype=self.dtype_policy)
            layer.build((None, None, None, inputs))
            return layer

        self.lower_bread = conv("lower_bread", channels, inner)
        self.ham.build((None, None, self.latent_dim))
        if self.version == "v2":
            self.cheese = conv("cheese", inner, channels)
        self.upper_bread = conv("upper_bread", channels if self.version == "v2" else inner, channels)
        self.build_normalization(channels)
        self.sigma = self.add_weight(name="sigma", shape=(), initializer="zeros")

    def has_random_bases(self, training: bool) -> bool:
        """Whether the source of bases in this mode is "random"; see :class:`ContextModule`."""
        return (self.ham.bases if training else self.ham.evaluation_bases) == "random"

    @property
    def had_random_bases(self) -> bool:
        """Whether evaluation drew random bases before :func:`hamgan.layers.fix_bases`."""
        return self.ham.had_random_bases

    def draw_initial_bases(self, key: tf.Tensor, *, first: int | tf.Tensor, count: int) -> tf.Tensor:
        """Draws the initial bases of images ``first`` to ``first + count - 1``; see :class:`ContextModule`.

        Args:
            key: key of a random stream, from :func:`hamgan.random_streams.fold`.
            first: index of the first image.
            count: number of images.

        Returns:
            Tensor of shape ``(count * num_sections, latent_dim, rank)``.
        """
        return self.ham.draw_initial_bases(key, first=first, count=count, latent_dim=self.latent_dim)

    def call(
        self,
        inputs: tf.Tensor,
        labels: tf.Tensor | None = None,
        training: bool | None = None,
        initial_bases: tf.Tensor | None = None,
        statistics: EvaluationStatistics = "moving",
        class_weights: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Adds global context to ``inputs``.

        Args:
            inputs: tensor of shape ``(batch, height, width, channels)``.
            labels: integers in [0, num_classes), shape ``(batch,)`` or ``(batch, 1)``. With
                ``batch_norm="conditional"``, these or ``class_weights`` are required; otherwise, neither is accepted.
            training: whether to use batch statistics, and to update moving averages, singular vectors and running
                bases.
            initial_bases: tensor of shape ``(batch * num_sections, latent_dim, rank)``, with adjacent rows for the
                sections of an image; by default, ``bases`` or ``evaluation_bases`` determines them.
            statistics: batch normalisation statistics outside training, see
                :meth:`hamgan.layers.BatchNormalization.call`.
            class_weights: weight of each class, float32 or float64, shape ``(batch, num_classes)``; rows sum to 1. With
                these, ``labels`` are not used.

        Returns:
            Tensor with the shape of the inputs.

        Raises:
            ValueError: if labels are missing or not accepted, or the bases have the wrong shape.
        """
        norm_arguments = self.normalization_arguments(labels, class_weights, training, statistics)
        inputs = tf.cast(inputs, self.compute_dtype)
        latent = self.lower_bread(inputs, training=training)
        context = decompose_sections(
            self.ham, latent, self.num_sections, initial_bases=initial_bases, training=training
        )
        if self.version == "v2":
            context = self.cheese(context, training=training)
            context = relu(self.normalize(context, **norm_arguments))
            context = self.upper_bread(context, training=training)
        else:
            context = self.upper_bread(context, training=training)
            context = self.normalize(context, **norm_arguments)
        return inputs + tf.cast(self.sigma, inputs.dtype) * context

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "latent_dim": self.latent_dim,
            "rank": self.ham.rank,
            "num_steps": self.ham.num_steps,
            "evaluation_steps": self.ham.evaluation_steps,
            "num_sections": self.num_sections,
            "ham": self.ham_name,
            "version": self.version,
            "bases": self.ham.bases,
            "evaluation_bases": self.ham.evaluation_bases,
            "bases_momentum": self.ham.bases_momentum,
            "gradient": self.ham.gradient,
            **self.ham_settings,
            "seed": self.ham.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Hamburger":
        """Creates a layer from its config; configs older than fixed bases mean ``evaluation_bases="random"``."""
        return cls(**{"evaluation_bases": "random", **config})
