"""Standing statistics: moving averages replaced by those of many batches of samples."""

import numpy as np
import tensorflow as tf

from hamgan import random_streams
from hamgan.distribution.replicas import on_all_replicas
from hamgan.layers.batch_normalization import Accumulate, batch_normalization_layers
from hamgan.networks import Generator
from hamgan.random_streams import Purpose


def set_standing_statistics(
    generator: Generator,
    *,
    seed: int,
    batch: int,
    passes: int,
    strategy: tf.distribute.Strategy | None = None,
    truncation: float | None = None,
) -> None:
    """Replaces a generator's moving averages by the mean of the statistics of batches of samples with random labels.

    The moving averages that training left are lost: use a restored copy.

    Args:
        generator: generator to change.
        seed: seed of labels, latent vectors and initial bases, on a stream of their own.
        batch: number of samples per pass on all replicas together, a multiple of the number of replicas. The
            statistics do not depend on how many replicas share them, up to rounding.
        passes: number of batches.
        strategy: strategy of one process whose replicas share the work; the generator was created in its scope.
        truncation: truncation of the latent vectors, as in :class:`hamgan.sampling.sampler.Sampler`; the statistics
            depend on it.

    Raises:
        ValueError: an argument is out of its range. The generator is unchanged.

    Reference: Brock et al. (ICLR 2019), appendix on experimental details.
    """
    strategy = strategy or tf.distribute.get_strategy()
    random_streams.check_truncation(truncation)
    if passes < 1:
        raise ValueError(f"passes must be positive, received {passes}")
    if batch < 1 or batch % strategy.num_replicas_in_sync:
        raise ValueError(
            f"batch must be a positive multiple of the {strategy.num_replicas_in_sync} replicas, received {batch}"
        )
    key = random_streams.fold(seed, Purpose.STANDING_STATISTICS)

    def accumulate(indices: tf.Tensor) -> tf.Tensor:
        inputs = generator.draw_inputs(key, first=indices[0], count=indices.shape[0], truncation=truncation)
        generator(*inputs, training=False, statistics=Accumulate(1 / passes))
        return tf.zeros((indices.shape[0],))

    for layer in batch_normalization_layers(generator):
        for statistic in (layer.moving_mean, layer.moving_variance):
            statistic.assign(tf.zeros_like(statistic))
    accumulate_on_all_replicas = on_all_replicas(strategy, accumulate)
    for done in range(passes):
        accumulate_on_all_replicas(np.arange(done * batch, (done + 1) * batch, dtype=np.int64))
