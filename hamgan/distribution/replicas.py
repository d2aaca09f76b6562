"""Work without training, such as sampling, spread over the replicas of a strategy, on one machine or several."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from hamgan.distribution.strategies import is_multi_worker


def on_all_replicas(strategy: tf.distribute.Strategy, function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a compiled function of arrays whose rows are shared out to the replicas.

    Args:
        strategy: the strategy; where it is of several processes, all of them make the same calls.
        function: takes tensors with n rows each, and returns nested tensors with n rows.

    Returns:
        A function of arrays with any number of rows, which returns NumPy arrays with as many, to every process. Where
        the replicas do not divide the rows, some are worked on twice.
    """
    replicas = strategy.num_replicas_in_sync

    @tf.function(reduce_retracing=True)
    def run(*shares: Any) -> Any:
        return strategy.run(function, args=shares)

    def share_out_and_run(*arrays: np.ndarray) -> Any:
        count = len(arrays[0])
        if replicas == 1:
            return tf.nest.map_structure(lambda tensor: tensor.numpy(), run(*map(tf.convert_to_tensor, arrays)))
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

        return tf.nest.map_structure(collected, run(*map(distributed, arrays)))

    return share_out_and_run
