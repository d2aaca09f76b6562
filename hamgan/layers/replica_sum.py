"""Sums over the replicas of a distribution strategy."""

from typing import Any

import tensorflow as tf


def sum_over_replicas(values: Any) -> Any:
    """Returns a tensor, or each tensor of a nested structure, summed over all replicas.

    Outside a strategy's replica context, and with a single replica, returns the values.

    Args:
        values: tensors of this replica.
    """
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return values
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, values)
