"""The Hamburger blocks of segmentation networks as context modules."""

from typing import Any

import keras
import tensorflow as tf

from hamgan.layers.batch_normalization import EvaluationStatistics
from hamgan.layers.context.residual import ResidualContext
from hamgan.layers.input_shapes import image_channels
from hamgan.layers.segmentation_branch import SegmentationBranch


@keras.saving.register_keras_serializable(package="hamgan")
class SegmentationContext(ResidualContext, SegmentationBranch):
    """Adds the branch y of a segmentation network's Hamburger block: ``x + sigma * y``, without relu after the sum.

    :class:`hamgan.layers.segmentation_branch.SegmentationBranch` describes the branch and its versions;
    :class:`hamgan.layers.SegmentationHamburger` is the block itself. Beside :class:`hamgan.layers.Hamburger`, the lower
    bread has a bias, the cheese has the width of the ham, and NMF starts from L2-normalised bases. sigma is a trainable
    scalar, initially 0. Batch normalisation has the place that it has in the block. Inputs and outputs have shape
    ``(batch, height, width, channels)``; height and width may be unknown.

    Args:
        latent_dim: number of channels D of each section.
        rank: number of bases R.
        kwargs: further arguments of :class:`hamgan.layers.segmentation_branch.SegmentationBranch`, with
            ``form="spatial"`` only; ``spectral_norm``, ``batch_norm``, ``num_classes`` and ``batch_norm_momentum`` as
            in the other context modules.

    Raises:
        ValueError: if an argument is out of range, or does not apply to the chosen ham, version or normalisation.

    Reference: Geng et al., Is Attention Better Than Matrix Decomposition? (ICLR 2021).

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.layers import SegmentationContext
        >>> SegmentationContext(latent_dim=8, rank=4, seed=0)(tf.random.normal((2, 8, 8, 16))).shape
        TensorShape([2, 8, 8, 16])
    """

    has_bases = True

    def __init__(self, latent_dim: int, rank: int, **kwargs: Any) -> None:
        super().__init__(latent_dim=latent_dim, rank=rank, **kwargs)
        if self.form != "spatial":
            raise ValueError(f"SegmentationContext has form='spatial', received {self.form!r}")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the weights of the branch and sigma."""
        self.build_branch(image_channels(self, input_shape))
        self.sigma = self.add_weight(name="sigma", shape=(), initializer="zeros")

    def has_random_bases(self, training: bool) -> bool:
        """Whether the source of bases in this mode is "random"; see :class:`ContextModule`."""
        return (self.bases if training else self.evaluation_bases) == "random"

    @property
    def had_random_bases(self) -> bool:
        """Whether evaluation drew random bases before :func:`hamgan.layers.fix_bases`."""
        return self.spatial_ham is not None and self.spatial_ham.had_random_bases

    def draw_initial_bases(self, key: tf.Tensor, *, first: int | tf.Tensor, count: int) -> tf.Tensor:
        """Draws the initial bases of images ``first`` to ``first + count - 1``; see :class:`ContextModule`."""
        assert self.spatial_ham is not None  # The only form.
        return self.spatial_ham.draw_initial_bases(key, first=first, count=count, latent_dim=self.latent_dim)

    def call(  # type: ignore[override]
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
            labels: as in :meth:`hamgan.layers.Hamburger.call`.
            training: whether to use batch statistics, and to update moving averages, singular vectors and running
                bases.
            initial_bases: tensor of shape ``(batch * num_sections, latent_dim, rank)``; by default, ``bases`` or
                ``evaluation_bases`` determines them.
            statistics: as in :meth:`hamgan.layers.Hamburger.call`.
            class_weights: as in :meth:`hamgan.layers.Hamburger.call`.

        Returns:
            Tensor with the shape of the inputs.
        """
        arguments = self.normalization_arguments(labels, class_weights, training, statistics)
        inputs = tf.cast(inputs, self.compute_dtype)
        branch = self.branch(inputs, initial_bases=initial_bases, **arguments)
        return inputs + tf.cast(self.sigma, inputs.dtype) * branch
