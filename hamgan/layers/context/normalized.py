"""Batch normalisation of the branch of a context module."""

from typing import Any

import tensorflow as tf

from hamgan.layers.batch_normalization import (
    BatchNormalization,
    ConditionalBatchNormalization,
    EvaluationStatistics,
)
from hamgan.layers.context.module import ContextModule

BATCH_NORMALIZATIONS = (None, "plain", "conditional")


class NormalizedContext(ContextModule):
    """Base class of context modules whose branch has a batch normalisation, none, plain or conditional.

    Subclasses call ``build_normalization`` in ``build``, and ``normalization_arguments`` and ``normalize`` in ``call``.

    Args:
        batch_norm: batch normalisation of the branch: None, "plain", or "conditional" (calls then require labels).
        num_classes: number of classes; only with conditional batch normalisation.
        batch_norm_momentum: decay of the moving averages, in [0, 1).

    Raises:
        ValueError: if an argument is out of range.
    """

    has_batch_norm = True

    def __init__(
        self,
        *,
        batch_norm: str | None = None,
        num_classes: int | None = None,
        batch_norm_momentum: float = 0.999,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.autocast = False  # Autocast would round class weights; call() casts the images.
        if batch_norm not in BATCH_NORMALIZATIONS:
            raise ValueError(f"batch_norm must be one of {BATCH_NORMALIZATIONS}, received {batch_norm!r}")
        if (batch_norm == "conditional") != (num_classes is not None):
            raise ValueError(
                f"num_classes goes with batch_norm='conditional', received {num_classes} with {batch_norm!r}"
            )
        self.batch_norm = batch_norm
        self.num_classes = num_classes
        self.batch_norm_momentum = batch_norm_momentum

    def build_normalization(self, channels: int) -> None:
        """Creates and builds the batch normalisation of images with this number of channels, if there is one."""
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

    def normalization_arguments(
        self,
        labels: tf.Tensor | None,
        class_weights: tf.Tensor | None,
        training: bool | None,
        statistics: EvaluationStatistics,
    ) -> dict[str, Any]:
        """Returns the arguments of :meth:`normalize` from those of ``call``.

        Raises:
            ValueError: if there are labels or class weights, but no conditional batch normalisation.
        """
        arguments: dict[str, Any] = {"training": training, "statistics": statistics}
        if self.batch_norm == "conditional":
            return {**arguments, "labels": labels, "class_weights": class_weights}
        if labels is not None or class_weights is not None:
            raise ValueError(
                f"{self.name} has batch_norm={self.batch_norm!r} and expects no labels or class_weights; "
                "call it without them"
            )
        return arguments

    def normalize(self, inputs: tf.Tensor, **arguments: Any) -> tf.Tensor:
        """Normalises images; without batch normalisation, returns them."""
        return inputs if self.normalization is None else self.normalization(inputs, **arguments)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "batch_norm": self.batch_norm,
            "num_classes": self.num_classes,
            "batch_norm_momentum": self.batch_norm_momentum,
        }
