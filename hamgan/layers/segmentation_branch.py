"""The branch of the Hamburger blocks of segmentation networks."""

import random
from typing import Any

import keras
import tensorflow as tf

from hamgan.architecture import HAM_FORMS, SEGMENTATION_VERSIONS
from hamgan.layers.activation import relu
from hamgan.layers.hams import make_ham
from hamgan.layers.matrix_decomposition import MatrixDecomposition
from hamgan.layers.sections import decompose_sections

RIDGE = 0.1
"""Default ridge of concept decomposition in segmentation, ten times that of GANs."""


class SegmentationBranch(keras.Layer):
    """Base class of layers with the branch y of the Hamburger blocks of HamNet.

    Subclasses define ``conv``, ``build_normalization`` and ``normalize``. With C channels, S sections of D channels,
    and E = S * D, or 2 * S * D in the dual form, the versions apply

    - "v1": lower bread (1x1 convolution with bias to E channels), ham, upper bread (1x1 to C), batch normalisation.
    - "v2": lower bread, ham, cheese (1x1 to E), batch normalisation, relu, upper bread (1x1 to C).
    - "v2plus": the same, with a cheese of E / F channels, or E / (2 F) in the dual form.

    NMF decomposes relu of the lower bread, the other hams the lower bread itself. In the spatial form, the ham
    approximates the D channels of a section at each position. In the channel form, it approximates the map of each
    channel, and its bases have as many rows as there are positions. The dual form applies a spatial ham to the first
    half of the channels and a channel ham to the second half.

    Args:
        latent_dim: number of channels D of each section, in all versions.
        rank: number of bases R.
        num_steps: number of iterations K of the ham.
        evaluation_steps: number of iterations K outside training; None means ``num_steps``.
        num_sections: number of sections S, which are decomposed independently.
        ham: matrix decomposition: "nmf" (with L2-normalised initial bases), "cd" or "vq".
        version: order of the layers, "v1", "v2" or "v2plus".
        form: "spatial", "channel" or, with "v2plus" only, "dual".
        cheese_factor: divisor F of the width of the cheese; "v2plus" only, ``num_sections`` by default.
        bases: source of initial bases in training: "random" (drawn at each call, as published), "fixed" or "running"
            (as published for "cd"; spatial form only), see :class:`hamgan.layers.Hamburger`.
        evaluation_bases: source of initial bases outside training, one of the same. Fixed bases of the channel form are
            drawn from the seed for the size of the images.
        bases_momentum: decay of the running bases, in [0, 1).
        gradient: part of the ham that is differentiated: "one_step" (the last update) or "unrolled" (all iterations).
        inverse_temperature: factor of the scores inside the softmax; "cd" and "vq" only, 100 by default.
        ridge: weight of the identity in the ridge regression; "cd" only, 0.1 by default.
        seed: integer seed of the bases; None draws a seed. Bases depend on the seed and the layer's path.
    """

    def __init__(
        self,
        latent_dim: int,
        rank: int,
        *,
        num_steps: int = 6,
        evaluation_steps: int | None = None,
        num_sections: int = 1,
        ham: str = "nmf",
        version: str = "v2",
        form: str = "spatial",
        cheese_factor: int | None = None,
        bases: str = "random",
        evaluation_bases: str = "fixed",
        bases_momentum: float = 0.1,
        gradient: str = "one_step",
        inverse_temperature: float | None = None,
        ridge: float | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, value, known in (("version", version, SEGMENTATION_VERSIONS), ("form", form, HAM_FORMS)):
            if value not in known:
                raise ValueError(f"{name} must be one of {known}, received {value!r}")
        if latent_dim < 1 or num_sections < 1:
            raise ValueError(f"latent_dim and num_sections must be positive, received {latent_dim} and {num_sections}")
        if version != "v2plus" and (form == "dual" or cheese_factor is not None):
            raise ValueError(
                f"form='dual' and cheese_factor go with version='v2plus', received form={form!r} and "
                f"cheese_factor={cheese_factor} with {version!r}"
            )
        width = num_sections * latent_dim
        if cheese_factor is not None and not 1 <= cheese_factor <= width:
            raise ValueError(f"cheese_factor must be in [1, {width}], received {cheese_factor}")
        if form != "spatial" and "running" in (bases, evaluation_bases):
            raise ValueError(
                f"running bases need form='spatial', received {form!r}, whose bases depend on the size of the images"
            )
        if form != "spatial" and seed is None:
            # In the config, because no weight keeps the fixed bases. Python's generator, like Keras's own seeds.
            seed = random.getrandbits(31)
        self.latent_dim = latent_dim
        self.rank = rank
        self.num_steps = num_steps
        self.evaluation_steps = evaluation_steps
        self.num_sections = num_sections
        self.ham_name = ham
        self.version = version
        self.form = form
        self.cheese_factor = cheese_factor
        self.bases = bases
        self.evaluation_bases = evaluation_bases
        self.bases_momentum = bases_momentum
        self.gradient = gradient
        self.inverse_temperature = inverse_temperature
        self.ridge = ridge
        self.seed = seed
        self.spatial_ham = self._make_ham("spatial_ham") if form in ("spatial", "dual") else None
        self.channel_ham = self._make_ham("channel_ham") if form in ("channel", "dual") else None

    def _make_ham(self, name: str) -> MatrixDecomposition:
        settings = {
            "normalize_bases": True if self.ham_name == "nmf" else None,
            "inverse_temperature": self.inverse_temperature,
            "ridge": RIDGE if self.ham_name == "cd" and self.ridge is None else self.ridge,
        }
        return make_ham(
            self.ham_name,
            settings,
            rank=self.rank,
            num_steps=self.num_steps,
            evaluation_steps=self.evaluation_steps,
            num_sections=self.num_sections,
            bases=self.bases,
            evaluation_bases=self.evaluation_bases,
            bases_momentum=self.bases_momentum,
            gradient=self.gradient,
            any_latent_dim=name == "channel_ham",
            seed=self.seed,
            name=name,
            dtype=self.dtype_policy,
        )

    def conv(self, name: str, inputs: int, outputs: int, *, use_bias: bool) -> keras.Layer:
        """Creates and builds a 1x1 convolution.

        Args:
            name: name of the layer.
            inputs: number of input channels.
            outputs: number of output channels.
            use_bias: whether to add a bias.

        Returns:
            The built layer.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define conv()")

    def build_normalization(self, channels: int) -> None:
        """Creates and builds the batch normalisation.

        Args:
            channels: number of channels of the images.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define build_normalization()")

    def normalize(self, inputs: tf.Tensor, **arguments: Any) -> tf.Tensor:
        """Normalises images.

        Args:
            inputs: tensor of shape ``(batch, height, width, channels)``.
            arguments: further arguments of the batch normalisation.

        Returns:
            Tensor with the shape of the inputs.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define normalize()")

    def build_branch(self, channels: int) -> None:
        """Creates the breads, the cheese, the hams and the batch normalisation.

        Args:
            channels: number of channels C of inputs and outputs.
        """
        halves = 2 if self.form == "dual" else 1
        inner = halves * self.num_sections * self.latent_dim
        self.lower_bread = self.conv("lower_bread", channels, inner, use_bias=True)
        if self.spatial_ham is not None:
            self.spatial_ham.build((None, None, self.latent_dim))
        if self.channel_ham is not None:
            self.channel_ham.build((None, self.latent_dim, None))
        if self.version == "v1":
            self.upper_bread = self.conv("upper_bread", inner, channels, use_bias=False)
            self.build_normalization(channels)
            return
        width = inner
        if self.version == "v2plus":
            factor = self.num_sections if self.cheese_factor is None else self.cheese_factor
            width = inner // (halves * factor)
        self.cheese = self.conv("cheese", inner, width, use_bias=False)
        self.build_normalization(width)
        self.upper_bread = self.conv("upper_bread", width, channels, use_bias=False)

    def branch(
        self, inputs: tf.Tensor, training: bool | None = None, initial_bases: Any = None, **normalization: Any
    ) -> tf.Tensor:
        """Computes y, the branch before the sum with the inputs.

        Args:
            inputs: tensor of shape ``(batch, height, width, channels)``.
            training: whether to use batch statistics, and to update moving averages and running bases.
            initial_bases: tensor of shape ``(batch * num_sections, D, rank)``, with adjacent rows for the sections of
                an image, where D is ``latent_dim`` in the spatial form and ``height * width`` in the channel form; in
                the dual form, a pair of these. By default, ``bases`` or ``evaluation_bases`` determines them.
            normalization: further arguments of the batch normalisation.

        Returns:
            Tensor with the shape of the inputs, in the layer's compute dtype.

        Raises:
            ValueError: if the bases have the wrong shape.
        """
        inputs = tf.cast(inputs, self.compute_dtype)
        context = self._decompose(self.lower_bread(inputs, training=training), training, initial_bases)
        if self.version == "v1":
            context = self.upper_bread(context, training=training)
            return self.normalize(context, training=training, **normalization)
        context = self.cheese(context, training=training)
        context = relu(self.normalize(context, training=training, **normalization))
        return self.upper_bread(context, training=training)

    def _decompose(self, latent: tf.Tensor, training: bool | None, initial_bases: Any) -> tf.Tensor:
        hams = [(self.spatial_ham, False), (self.channel_ham, True)]
        used = [(ham, by_channel) for ham, by_channel in hams if ham is not None]
        if initial_bases is None:
            initial_bases = [None] * len(used)
        elif len(used) == 1:
            initial_bases = [initial_bases]
        elif len(initial_bases) != len(used):
            raise ValueError(f"{self.name} expects a pair of initial_bases, received {len(initial_bases)} tensors")
        parts = [
            decompose_sections(
                ham, part, self.num_sections, by_channel=by_channel, initial_bases=bases, training=training
            )
            for part, (ham, by_channel), bases in zip(
                tf.split(latent, len(used), axis=-1), used, initial_bases, strict=True
            )
        ]
        return parts[0] if len(parts) == 1 else tf.concat(parts, axis=-1)

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...], *_: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        """Returns the input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "latent_dim": self.latent_dim,
            "rank": self.rank,
            "num_steps": self.num_steps,
            "evaluation_steps": self.evaluation_steps,
            "num_sections": self.num_sections,
            "ham": self.ham_name,
            "version": self.version,
            "form": self.form,
            "cheese_factor": self.cheese_factor,
            "bases": self.bases,
            "evaluation_bases": self.evaluation_bases,
            "bases_momentum": self.bases_momentum,
            "gradient": self.gradient,
            "inverse_temperature": self.inverse_temperature,
            "ridge": self.ridge,
            "seed": self.seed,
        }
