"""Base class of the matrix decomposition layers ("hams"): iterations and initial bases.

A ham approximates its input X, N positions in D dimensions, by R bases A with coefficients C: X ~ A C^T. K iterations
of an optimiser compute A and C from initial bases. No intermediate result has more than N * max(D, R) elements per
example.

Tensors have shape ``(batch, N, D)``, positions first, as feature maps are stored. The paper's X is the transpose.

Reference: Geng et al., Is Attention Better Than Matrix Decomposition? (ICLR 2021), sections 2.2, 2.3 and 3.
"""

import random
import zlib
from typing import Any, ClassVar, Literal

import keras
import tensorflow as tf

from hamgan import random_streams
from hamgan.architecture import BASES_SOURCES
from hamgan.layers.decomposition_inputs import check_gradient, checked_operands, num_images
from hamgan.layers.precision import accumulation_dtype
from hamgan.layers.replica_sum import sum_over_replicas


class MatrixDecomposition(keras.Layer):
    """Base class of the hams: approximates inputs of shape ``(batch, N, D)`` by a matrix decomposition of rank R.

    The non-trainable weights ``fixed_bases`` and ``running_bases``, shape ``(num_sections, D, rank)``, exist only if
    ``bases`` or ``evaluation_bases`` selects them. Half precision is computed in float32, which the denominators need.

    Args:
        rank: number of bases R.
        num_steps: number of iterations K.
        evaluation_steps: number of iterations K outside training; None means ``num_steps``.
        num_sections: number of sections S of an image. Row b * S + s of the inputs is section s of image b. Each
            section has its own fixed and running bases.
        bases: source of initial bases in training: "random" (drawn for each example at each call, as published),
            "fixed" (drawn once from the seed and stored in a weight) or "running" (a moving average of the final bases
            of training calls, L2-normalised along D).
        evaluation_bases: source of initial bases outside training, one of the same. "fixed" and "running" make results
            deterministic, and the layer exportable to TFLite and ONNX.
        bases_momentum: decay of the running bases, in [0, 1).
        gradient: part of the computation that is differentiated: "one_step" (the last update of the coefficients) or
            "unrolled" (all iterations).
        any_latent_dim: whether D may be unknown and change from call to call. The layer then keeps no bases: it draws
            fixed ones from the seed at each call, and has no running ones.
        seed: integer seed of the bases; None draws a seed. Bases depend on the seed and the layer's path, and random
            ones also on the replica.
    """

    initial_distribution: ClassVar[Literal["uniform", "normal"]]
    settings: ClassVar[tuple[str, ...]] = ()
    """Names of the arguments that are specific to this ham."""

    def __init__(
        self,
        *,
        rank: int,
        num_steps: int = 6,
        evaluation_steps: int | None = None,
        num_sections: int = 1,
        bases: str = "random",
        evaluation_bases: str = "fixed",
        bases_momentum: float = 0.1,
        gradient: str = "one_step",
        any_latent_dim: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if rank < 1 or num_steps < 0:
            raise ValueError(f"rank must be positive and num_steps not negative, received {rank} and {num_steps}")
        if evaluation_steps is not None and evaluation_steps < 0:
            raise ValueError(f"evaluation_steps must not be negative, received {evaluation_steps}")
        if num_sections < 1:
            raise ValueError(f"num_sections must be positive, received {num_sections}")
        for name, value in (("bases", bases), ("evaluation_bases", evaluation_bases)):
            if value not in BASES_SOURCES:
                raise ValueError(f"{name} must be one of {BASES_SOURCES}, received {value!r}")
        if not 0 <= bases_momentum < 1:
            raise ValueError(f"bases_momentum must be in [0, 1), received {bases_momentum}")
        check_gradient(gradient)
        if any_latent_dim and "running" in (bases, evaluation_bases):
            raise ValueError("running bases have a fixed latent_dim, received any_latent_dim=True")
        if seed is not None and not isinstance(seed, int):
            raise ValueError(f"seed must be an integer or None, received {seed!r}")
        self.rank = rank
        self.num_steps = num_steps
        self.evaluation_steps = evaluation_steps
        self.num_sections = num_sections
        self.bases = bases
        self.evaluation_bases = evaluation_bases
        self.bases_momentum = bases_momentum
        self.gradient = gradient
        self.any_latent_dim = any_latent_dim
        self.seed = seed
        # Python's generator, like Keras's own seeds, so that keras.utils.set_random_seed applies.
        self._stream_seed = random.getrandbits(31) if seed is None else random_streams.non_negative(seed)
        self.seed_generator = keras.random.SeedGenerator(self._stream_seed)
        self.fixed_bases: keras.Variable | None = None
        self.running_bases: keras.Variable | None = None
        self.had_random_bases = False
        """Whether evaluation drew random bases before :func:`hamgan.layers.fix_bases`."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Checks the input shape, and creates the fixed and running bases that the arguments select."""
        if len(input_shape) != 3 or (input_shape[-1] is None and not self.any_latent_dim):
            raise ValueError(
                f"{self.name} expects (batch, positions, latent_dim) with latent_dim known, received {input_shape}"
            )
        if self.any_latent_dim:
            self.input_spec = keras.InputSpec(ndim=3)
            return
        self.input_spec = keras.InputSpec(ndim=3, axes={-1: input_shape[-1]})
        self.fixed_bases, self.running_bases = (
            self.add_weight(
                name=f"{kind}_bases",
                shape=(self.num_sections, input_shape[-1], self.rank),
                initializer=self._draw_stored_bases,
                trainable=False,
                autocast=False,
                dtype=accumulation_dtype(self.variable_dtype).name,
                aggregation="only_first_replica",
            )
            if kind in (self.bases, self.evaluation_bases)
            else None
            for kind in ("fixed", "running")
        )

    def call(
        self, inputs: tf.Tensor, initial_bases: tf.Tensor | None = None, training: bool | None = None
    ) -> tf.Tensor:
        """Approximates ``inputs``.

        Args:
            inputs: tensor of shape ``(batch, N, D)``.
            initial_bases: tensor of shape ``(batch, D, R)``; by default, ``bases`` or ``evaluation_bases`` determines
                them.
            training: whether to use ``bases`` and ``num_steps`` instead of ``evaluation_bases`` and
                ``evaluation_steps``, and to update the running bases.

        Returns:
            Tensor with the shape of the inputs.

        Raises:
            ValueError: if the bases have the wrong shape, or the sections of an image are incomplete.
        """
        kind = "given"
        if initial_bases is not None:
            inputs, initial_bases = checked_operands(inputs, initial_bases, self.rank)
        else:
            kind = self.bases if training else self.evaluation_bases
            initial_bases = self._default_bases(inputs, kind)
        num_steps = self.num_steps if training or self.evaluation_steps is None else self.evaluation_steps
        can_be_exported = not training and kind in ("fixed", "running")
        outputs, final_bases = self.decompose(
            inputs, initial_bases, num_steps=num_steps, can_be_exported=can_be_exported
        )
        if training and kind != "given" and self.running_bases is not None:
            self._update(self.running_bases, final_bases)
        return outputs

    def decompose(
        self, inputs: tf.Tensor, initial_bases: tf.Tensor, *, num_steps: int, can_be_exported: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the approximation and the final bases.

        Args:
            inputs: tensor of shape ``(batch, N, D)``.
            initial_bases: tensor of shape ``(batch, D, R)``.
            num_steps: number of iterations K.
            can_be_exported: whether to use only operations that TFLite and ONNX support.
        """
        raise TypeError(f"{type(self).__name__} must define decompose()")

    def _default_bases(self, inputs: tf.Tensor, kind: str) -> tf.Tensor:
        batch = tf.shape(inputs)[0]
        latent_dim = tf.shape(inputs)[-1] if inputs.shape[-1] is None else inputs.shape[-1]
        if kind == "random":
            return self.draw_bases(batch, latent_dim)
        weight = self.fixed_bases if kind == "fixed" else self.running_bases
        if weight is None:
            stored = self._draw_stored_bases((self.num_sections, latent_dim, self.rank))
        else:
            stored = tf.convert_to_tensor(weight)
        images = num_images(inputs, self.num_sections)
        # XLA drops the assertion on the number of rows; the reshape still fails on a mismatch.
        return tf.reshape(tf.tile(stored, (images, 1, 1)), (batch, latent_dim, self.rank))

    def draw_initial_bases(self, key: tf.Tensor, *, first: int | tf.Tensor, count: int, latent_dim: int) -> tf.Tensor:
        """Draws the initial bases of images ``first`` to ``first + count - 1``.

        Args:
            key: key of a random stream, from :func:`hamgan.random_streams.fold`.
            first: index of the first image.
            count: number of images.
            latent_dim: number of dimensions D.

        Returns:
            Tensor of shape ``(count * num_sections, latent_dim, rank)``, with adjacent rows for the sections of an
            image.
        """
        bases = random_streams.draw(
            self.initial_distribution, key, first=first, count=count, shape=(self.num_sections, latent_dim, self.rank)
        )
        return tf.reshape(bases, (count * self.num_sections, latent_dim, self.rank))

    def draw_bases(self, batch: tf.Tensor | int, latent_dim: int | tf.Tensor) -> tf.Tensor:
        """Draws random bases of shape ``(batch, latent_dim, rank)``, different for each call and replica."""
        replica = tf.distribute.get_replica_context()
        replica_id = 0 if replica is None else replica.replica_id_in_sync_group
        state = tf.cast(self.seed_generator.next(), tf.int32)
        return self._draw(random_streams.fold(state, self._path_digest(), replica_id), batch, latent_dim)

    def _draw_stored_bases(self, shape: tuple[Any, ...], dtype: Any = None) -> tf.Tensor:
        """Draws fixed bases, and the initial value of running ones, a function of seed, path and shape."""
        purpose = random_streams.Purpose.STORED_BASES
        sections, latent_dim, _ = shape
        bases = self._draw(random_streams.fold(self._stream_seed, self._path_digest(), purpose), sections, latent_dim)
        return bases if dtype is None else tf.cast(bases, dtype)

    def _draw(self, key: tf.Tensor, count: tf.Tensor | int, latent_dim: int | tf.Tensor) -> tf.Tensor:
        if self.any_latent_dim:
            # A stream has a fixed number of values per example, so here each row is one.
            rows = random_streams.draw(
                self.initial_distribution, key, first=0, count=count * latent_dim, shape=(self.rank,)
            )
            return tf.reshape(rows, (count, latent_dim, self.rank))
        return random_streams.draw(self.initial_distribution, key, first=0, count=count, shape=(latent_dim, self.rank))

    def _path_digest(self) -> int:
        return random_streams.non_negative(zlib.crc32((self.path or self.name).encode()))

    def _update(self, variable: keras.Variable, final_bases: tf.Tensor) -> None:
        """m <- l2n(momentum * m + (1 - momentum) * mean of the final bases over all images on all replicas)."""
        running = tf.convert_to_tensor(variable)
        final_bases = tf.reshape(tf.stop_gradient(tf.cast(final_bases, running.dtype)), (-1, *running.shape))
        total, count = tf.reduce_sum(final_bases, axis=0), tf.cast(tf.shape(final_bases)[0], running.dtype)
        total, count = sum_over_replicas([total, count])
        mean = total / tf.maximum(count, 1)
        moved = self.bases_momentum * running + (1 - self.bases_momentum) * mean
        variable.assign(tf.math.l2_normalize(moved, axis=1))

    def _trackable_children(self, save_type: str = "checkpoint", **kwargs: Any) -> dict[str, Any]:
        children = super()._trackable_children(save_type, **kwargs)
        # A SavedModel must track every variable, and Keras hides the generator's state. Checkpoints do not include it.
        if save_type == "savedmodel":
            children["seed_generator_state"] = self.seed_generator.state
        return children

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...], *_: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        """Returns the input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "rank": self.rank,
            "num_steps": self.num_steps,
            "evaluation_steps": self.evaluation_steps,
            "num_sections": self.num_sections,
            "bases": self.bases,
            "evaluation_bases": self.evaluation_bases,
            "bases_momentum": self.bases_momentum,
            "gradient": self.gradient,
            "any_latent_dim": self.any_latent_dim,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "MatrixDecomposition":
        """Creates a layer from its config; configs older than fixed bases mean ``evaluation_bases="random"``."""
        return cls(**{"evaluation_bases": "random", **config})
