"""Training passes of a network over the parts of a batch, which together update its state once."""

from typing import Any

import keras
import tensorflow as tf

from hamgan.layers.batch_normalization import Accumulate, batch_normalization_layers
from hamgan.layers.spectral_normalization import spectrally_normalized_layers


class PartialBatches:
    """Applies a network to each part of a batch in training mode.

    With one part, this is a call with ``training=True``. With several parts, each is normalised by its own batch
    statistics, the moving averages take one step towards the mean of these statistics, and the singular vectors take
    one step. Call :meth:`begin`, then the object itself for each part, then :meth:`end`.

    Args:
        network: network to train.
        parts: number of parts.
    """

    def __init__(self, network: keras.Model, parts: int) -> None:
        self._network = network
        self._parts = parts
        self._normalizations = batch_normalization_layers(network)
        self._spectrally_normalized = spectrally_normalized_layers(network)

    def begin(self) -> None:
        """Prepares the moving averages for the statistics of the parts."""
        if self._parts > 1:
            for layer in self._normalizations:
                for average in (layer.moving_mean, layer.moving_variance):
                    average.assign(average * layer.momentum)

    def __call__(self, *inputs: Any, **options: Any) -> tf.Tensor:
        """Applies the network to one part of the batch."""
        if self._parts == 1:
            return self._network(*inputs, training=True, **options)
        if self._normalizations:
            share = (1.0 - self._normalizations[0].momentum) / self._parts
            options["statistics"] = Accumulate(share)
        # The statistics of a batch are used nevertheless; the singular vectors stay the same for all parts.
        return self._network(*inputs, training=False, **options)

    def end(self) -> None:
        """Updates the singular vectors, before the optimizer changes the kernels."""
        if self._parts > 1:
            for layer in self._spectrally_normalized:
                layer.kernel_scale(training=True)
