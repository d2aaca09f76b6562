"""Inference, such as sampling, on all replicas of a strategy, on one or several machines."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from hamgan.distribution.strategies import is_multi_worker


def on_all_replicas(strategy: tf.distribute.Strategy, function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a function and splits the rows of its arguments over the replicas.

    Args:
        strategy: distribution strategy; with several workers, all of them make the same calls.
        function: function from tensors with n rows each to nested tensors with n rows.

    Returns:
        Function from arrays with any number of rows to NumPy arrays with as many, the same on every worker. If the
        number of rows is not a multiple of the number of replicas, some rows are computed twice.
    """
    replicas = strategy.num_replicas_in_sync

    @tf.function(autograph=False, reduce_retracing=True)
    def run(shares: tuple[Any, ...]) -> Any:
        return strategy.run(function, args=shares)

    def split_and_run(*arrays: np.ndarray) -> Any:
        count = len(arrays[0])
        if replicas == 1:
            return tf.nest.map_structure(lambda tensor: tensor.numpy(), run(tuple(map(tf.convert_to_tensor, arrays))))
        share = -(-count // replicas)
        rows = np.arange(share * replicas) % count

        def distributed(array: np.ndarray) -> tf.distribute.DistributedValues:
            parts = np.asarray(array)[rows].reshape(replicas, share, *np.shape(array)[1:])
            return strategy.experimental_distribute_values_from_function(
                lambda context: tf.constant(parts[context.replica_id_in_sync_group])
            )

        def collected(value: tf.distribute.DistributedValues) -> np.ndarray:
            if is_multi_worker(strategy):
                return strategy.gather(value, axis=0).numpy()[:count]
            return np.concatenate([part.numpy() for part in strategy.experimental_local_results(value)])[:count]

        return tf.nest.map_structure(collected, run(tuple(map(distributed, arrays))))

    return split_and_run
