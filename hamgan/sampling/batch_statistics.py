"""Standing statistics: batch normalisation statistics averaged over many batches of samples."""

from collections.abc import Sequence

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
    class_counts: Sequence[int] | None = None,
) -> None:
    """Replaces a generator's moving averages, in place, by statistics averaged over batches of random samples.

    The moving averages from training are lost.

    Args:
        generator: generator to modify.
        seed: integer seed of labels, latent vectors and initial bases.
        batch: number of samples per pass, summed over replicas; a multiple of the number of replicas. Up to rounding,
            the statistics do not depend on the number of replicas.
        passes: number of batches.
        strategy: single-process strategy whose replicas share the work. Create the generator in its scope.
        truncation: truncation of the latent vectors, as in :class:`hamgan.sampling.sampler.Sampler`. Use the same value
            for sampling, because the statistics depend on it.
        class_counts: class counts, as in :class:`hamgan.sampling.sampler.Sampler`.

    Raises:
        ValueError: if an argument is out of range. The generator is then unchanged.

    Reference: Brock et al., Large Scale GAN Training for High Fidelity Natural Image Synthesis (ICLR 2019), appendix on
    experimental details.

    Example:
        >>> from hamgan.networks import Generator
        >>> from hamgan.sampling.batch_statistics import set_standing_statistics
        >>> generator = Generator(resolution=32, num_classes=10, base_channels=4)
        >>> set_standing_statistics(generator, seed=0, batch=4, passes=2)
        >>> bool((generator.norm.moving_mean.numpy() != 0).any())
        True
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
        inputs = generator.draw_inputs(
            key, first=indices[0], count=indices.shape[0], class_counts=class_counts, truncation=truncation
        )
        generator(*inputs, training=False, statistics=Accumulate(1 / passes))
        return tf.zeros((indices.shape[0],))

    for layer in batch_normalization_layers(generator):
        for statistic in (layer.moving_mean, layer.moving_variance):
            statistic.assign(tf.zeros_like(statistic))
    accumulate_on_all_replicas = on_all_replicas(strategy, accumulate)
    for done in range(passes):
        accumulate_on_all_replicas(np.arange(done * batch, (done + 1) * batch, dtype=np.int64))
