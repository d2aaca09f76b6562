"""Hamburger: a matrix decomposition between linear layers, as a residual block."""

from typing import Any

import keras
import tensorflow as tf

from hamgan import random_streams
from hamgan.architecture import HAMBURGER_VERSIONS
from hamgan.layers.activation import relu
from hamgan.layers.batch_normalization import (
    BatchNormalization,
    ConditionalBatchNormalization,
    EvaluationStatistics,
)
from hamgan.layers.context.module import ContextModule
from hamgan.layers.hams import HAMS
from hamgan.layers.input_shapes import image_channels
from hamgan.layers.spectral_normalization import SNConv2D

BATCH_NORMALIZATIONS = (None, "plain", "conditional")


@keras.saving.register_keras_serializable(package="hamgan")
class Hamburger(ContextModule):
    """Global context by matrix decomposition: ``x + sigma * upper_bread(ham(lower_bread(x)))``.

    V1: lower bread (1x1 convolution to S * D channels), ham on S sections of D channels, upper bread (1x1 to C), batch
    normalisation. V2: lower bread, ham, cheese (1x1 to C), batch normalisation, relu, upper bread (1x1, C to C).
    The convolutions have no bias and are divided by their spectral norm; sigma is a scalar, initially 0.

    Args:
        latent_dim: D, the channels of one section.
        rank: R, the number of bases.
        num_steps: number of iterations K of the ham.
        evaluation_steps: K outside of training; ``num_steps`` if absent.
        num_sections: number of sections S, independent decompositions side by side.
        ham: "nmf", "cd" (concept decomposition) or "vq" (vector quantisation).
        version: "v1" or "v2".
        batch_norm: None (as in a discriminator), "plain", or "conditional" (as in a generator, called with labels).
        num_classes: number of classes of the conditional batch normalisation.
        batch_norm_momentum: decay of its moving averages.
        bases: initial bases in training when a call brings none: "random" (drawn at each call, as published), "fixed"
            (drawn once, kept in a weight) or "running" (a moving average of the final bases).
        evaluation_bases: initial bases outside of training, one of the same. Except with "random" the same image gives
            the same result each time, and a model can be exported to TFLite and ONNX; :func:`hamgan.layers.fix_bases`
            changes a trained model.
        bases_momentum: share of the old running bases that a call in training leaves.
        gradient: "one_step" (through the ham's last update alone) or "unrolled" (through all iterations).
        rectify: whether the ham applies relu to its inputs ("nmf" only, the default is True).
        normalize_bases: whether initial bases are L2-normalised ("nmf" only, the default is False).
        inverse_temperature: factor of the scores inside the softmax ("cd" and "vq" only, the default is 100).
        ridge: weight of the identity in the regression ("cd" only, the default is 0.01).
        seed: integer from which bases are drawn, together with the layer's path.

    Input and output ``(batch, height, width, channels)``; height and width may be unknown. The arguments of the ham are
    described at :class:`hamgan.layers.matrix_decomposition.MatrixDecomposition`.

    Raises:
        ValueError: an argument is out of its range or does not go with the others, or labels are missing under
            conditional batch normalisation.

    Reference: Geng et al., Is Attention Better Than Matrix Decomposition? (ICLR 2021), section 2.3 and appendix.
    """

    has_batch_norm = True
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
        super().__init__(**kwargs)
        self.autocast = False  # Labels that come as floats must not be rounded; call() casts the images.
        for name, value, known in (
            ("ham", ham, tuple(HAMS)),
            ("version", version, HAMBURGER_VERSIONS),
            ("batch_norm", batch_norm, BATCH_NORMALIZATIONS),
        ):
            if value not in known:
                raise ValueError(f"{name} must be one of {known}, received {value!r}")
        if latent_dim < 1 or num_sections < 1:
            raise ValueError(f"latent_dim and num_sections must be positive, received {latent_dim} and {num_sections}")
        if (batch_norm == "conditional") != (num_classes is not None):
            raise ValueError(
                f"num_classes goes with batch_norm='conditional', received {num_classes} with {batch_norm!r}"
            )
        self.latent_dim = latent_dim
        self.num_sections = num_sections
        self.ham_name = ham
        self.version = version
        self.batch_norm = batch_norm
        self.num_classes = num_classes
        self.batch_norm_momentum = batch_norm_momentum
        # What only some hams have. None leaves them their own default.
        self.ham_settings: dict[str, Any] = {
            "rectify": rectify,
            "normalize_bases": normalize_bases,
            "inverse_temperature": inverse_temperature,
            "ridge": ridge,
        }
        given = {name: value for name, value in self.ham_settings.items() if value is not None}
        for name in given:
            if name not in HAMS[ham].settings:
                raise ValueError(
                    f"{name} is not a setting of ham {ham!r}, which has {' and '.join(HAMS[ham].settings)}"
                )
        self.ham = HAMS[ham](
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
            **given,
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
        common: dict[str, Any] = {
            "momentum": self.batch_norm_momentum,
            "name": "batch_norm",
            "dtype": self.dtype_policy,
        }
        self.normalization: BatchNormalization | None = None
        if self.num_classes is not None:
            self.normalization = ConditionalBatchNormalization(self.num_classes, **common)
        elif self.batch_norm is not None:
            self.normalization = BatchNormalization(**common)
        if self.normalization is not None:
            self.normalization.build((None, None, None, channels))
        self.sigma = self.add_weight(name="sigma", shape=(), initializer="zeros")

    def draw_initial_bases(self, key: tf.Tensor, *, first: int | tf.Tensor, count: int) -> tf.Tensor:
        """Returns initial bases, shape ``(count * num_sections, latent_dim, rank)``; see :class:`ContextModule`."""
        bases = random_streams.draw(
            self.ham.initial_distribution,
            key,
            first=first,
            count=count,
            shape=(self.num_sections, self.latent_dim, self.ham.rank),
        )
        return tf.reshape(bases, (count * self.num_sections, self.latent_dim, self.ham.rank))

    def call(
        self,
        inputs: tf.Tensor,
        labels: tf.Tensor | None = None,
        training: bool | None = None,
        initial_bases: tf.Tensor | None = None,
        statistics: EvaluationStatistics = "moving",
    ) -> tf.Tensor:
        """Adds global context to ``inputs``.

        Args:
            inputs: shape ``(batch, height, width, channels)``.
            labels: integers in [0, num_classes), shape ``(batch,)`` or ``(batch, 1)``; required with
                ``batch_norm="conditional"``, and refused without.
            training: whether to use batch statistics and to update state.
            initial_bases: shape ``(batch * num_sections, latent_dim, rank)``, with the sections of an image side by
                side; by default, ``bases`` or ``evaluation_bases`` decides.
            statistics: statistics of the batch normalisation outside of training; see
                :meth:`hamgan.layers.BatchNormalization.call`.
        """
        if labels is not None and self.batch_norm != "conditional":
            raise ValueError(f"{self.name} has batch_norm={self.batch_norm!r} and expects no labels, received some")
        inputs = tf.cast(inputs, self.compute_dtype)
        latent = self.lower_bread(inputs, training=training)
        context = self._decompose(latent, initial_bases=initial_bases, training=training)
        if self.version == "v2":
            context = self.cheese(context, training=training)
            context = relu(self._normalize(context, labels, training, statistics))
            context = self.upper_bread(context, training=training)
        else:
            context = self.upper_bread(context, training=training)
            context = self._normalize(context, labels, training, statistics)
        return inputs + tf.cast(self.sigma, inputs.dtype) * context

    def _decompose(self, latent: tf.Tensor, **arguments: Any) -> tf.Tensor:
        """Applies the ham to each section of ``(batch, height, width, sections * latent_dim)``."""
        shape, sections = tf.shape(latent), self.num_sections
        batch, positions = shape[0], shape[1] * shape[2]

        def exchange_positions_and_sections(values: tf.Tensor, *lengths: tf.Tensor | int) -> tf.Tensor:
            if sections == 1:
                return values
            return tf.transpose(tf.reshape(values, (batch, *lengths, self.latent_dim)), (0, 2, 1, 3))

        latent = exchange_positions_and_sections(latent, positions, sections)
        latent = tf.reshape(latent, (batch * sections, positions, self.latent_dim))
        context = exchange_positions_and_sections(self.ham(latent, **arguments), sections, positions)
        return tf.reshape(context, (batch, shape[1], shape[2], sections * self.latent_dim))

    def _normalize(
        self, inputs: tf.Tensor, labels: tf.Tensor | None, training: bool | None, statistics: EvaluationStatistics
    ) -> tf.Tensor:
        if self.normalization is None:
            return inputs
        if self.batch_norm == "plain":
            return self.normalization(inputs, training=training, statistics=statistics)
        if labels is None:
            raise ValueError(f"{self.name} has batch_norm='conditional' and expects labels, received none")
        return self.normalization(inputs, labels, training=training, statistics=statistics)

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
            "batch_norm": self.batch_norm,
            "num_classes": self.num_classes,
            "batch_norm_momentum": self.batch_norm_momentum,
            "bases": self.ham.bases,
            "evaluation_bases": self.ham.evaluation_bases,
            "bases_momentum": self.ham.bases_momentum,
            "gradient": self.ham.gradient,
            **self.ham_settings,
            "seed": self.ham.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Hamburger":
        """Creates a layer; a config from before there were fixed bases gives one without them."""
        return cls(**{"evaluation_bases": "random", **config})
