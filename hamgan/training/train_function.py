"""The compiled function that takes several training steps per call."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import tensorflow as tf

from hamgan.distribution.strategies import is_multi_worker
from hamgan.training.task import Metrics, TrainingStep


class StepsTaken(NamedTuple):
    """Result of a call of the train function."""

    count: tf.Tensor
    """Number of steps taken."""
    was_stopped: tf.Tensor
    """Whether a stop was requested."""
    metrics: Metrics
    """Means of the metrics over the steps."""
    failed_step: tf.Tensor
    """First step with a non-finite metric, counted from 1, or -1."""
    failed_metrics: Metrics
    """Metrics of the failed step."""
    weights_are_finite: tf.Tensor
    """Whether all variables are finite after the steps."""
    singular_values: tf.Tensor
    """Largest singular values after the steps, in the order of ``TrainingStep.layers_with_singular_values``."""


TrainFunction = Callable[[Iterator, tf.Tensor, tf.Tensor], StepsTaken]


def make_train_function(
    step: TrainingStep, strategy: tf.distribute.Strategy, stop_requested: tf.Variable | None = None
) -> TrainFunction:
    """Returns a compiled function that takes several steps per call.

    Args:
        step: step of each replica.
        strategy: strategy that runs the step.
        stop_requested: boolean variable that is read before each step; if it is true, the function returns early, on
            all workers at the same step.

    Returns:
        A function of (iterator, number of steps, random stream of the run).
    """
    # The remapping pass logs an error about a missing node on this graph, and does not change its speed.
    tf.config.optimizer.set_experimental_options({"remapping": False})
    state, names = step.state, step.metric_names
    mean = tf.distribute.ReduceOp.MEAN

    # Without AutoGraph, which would spend more time on converting what the step calls than TensorFlow on tracing it.
    step_of_replica, finite_share, singular_values_of = map(
        tf.autograph.experimental.do_not_convert, (step, step.finite_share, step.singular_values)
    )

    def is_stopped() -> tf.Tensor:
        if stop_requested is None:
            return tf.constant(False)
        requested = tf.identity(stop_requested)
        if not is_multi_worker(strategy):
            return requested
        # All workers stop as soon as one of them receives the signal.
        share = strategy.run(lambda flag: tf.cast(flag, tf.float32), args=(requested,))
        return strategy.reduce(mean, share, axis=None) > 0

    @tf.function
    def train(iterator: Iterator, num_steps: tf.Tensor, stream: tf.Tensor) -> StepsTaken:
        totals = {name: tf.zeros(()) for name in names}
        failed_metrics = {name: tf.zeros(()) for name in names}
        failed_step = tf.constant(-1, tf.int64)
        count = tf.constant(0)
        stopped = is_stopped()
        while tf.logical_and(count < num_steps, tf.logical_not(stopped)):
            batches = tuple([next(iterator) for _ in range(step.batches_per_step)])
            per_replica = strategy.run(step_of_replica, args=(batches, tf.identity(state.step), stream))
            metrics = {name: strategy.reduce(mean, per_replica[name], axis=None) for name in names}
            state.step.assign_add(1)
            count += 1
            totals = {name: total + metrics[name] for name, total in totals.items()}
            fails = tf.logical_not(tf.reduce_all(tf.math.is_finite(tf.stack(list(metrics.values())))))
            fails_first = tf.logical_and(fails, failed_step < 0)
            failed_step = tf.where(fails_first, tf.identity(state.step), failed_step)
            failed_metrics = {name: tf.where(fails_first, metrics[name], failed_metrics[name]) for name in names}
            stopped = is_stopped()
        finite = strategy.reduce(mean, strategy.run(finite_share), axis=None)
        singular_values = strategy.reduce(mean, strategy.run(singular_values_of), axis=None)
        means = {name: total / tf.cast(tf.maximum(count, 1), tf.float32) for name, total in totals.items()}
        return StepsTaken(count, stopped, means, failed_step, failed_metrics, finite >= 1.0, singular_values)

    return train
