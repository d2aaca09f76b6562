"""Less memory for more multiplications: intermediate results are recomputed for the gradient."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from hamgan.layers.gradients import custom_gradient

Statistics = Sequence[tf.Tensor]


def recomputed(
    function: Callable[..., tuple[tf.Tensor, Statistics]], weight: tf.Tensor, *others: tf.Tensor
) -> tuple[tf.Tensor, Statistics]:
    """Returns ``function(weight, *others)``, and keeps nothing for its gradient but these and the statistics.

    Args:
        function: of the weight, the others and ``statistics``, to its outputs and its statistics. The latter are not
            differentiated as outputs; in the backward pass they are handed in, to be used and not reduced once more.
        weight: small, and every intermediate result depends on it.
        others: all other tensors that gradients go to. The function captures no variables.

    Returns:
        The outputs and the statistics.
    """

    @custom_gradient
    def call(weight: tf.Tensor, *others: tf.Tensor) -> tuple[tuple[tf.Tensor, ...], Any]:
        outputs, statistics = function(weight, *others, statistics=None)

        def grad(upstream: tf.Tensor, *_: tf.Tensor) -> list[tf.Tensor]:
            # Not before the gradient is there; and XLA must not find that it has been made already. XLA drops control
            # dependencies, but it does not know that a sum of gradients is never negative infinity. It is the bias's
            # gradient, which is made anyway: reading the images' own for this would keep them in float32 on a TPU.
            to_bias = tf.reduce_sum(upstream, tuple(range(upstream.shape.rank - 1)))
            again = weight + tf.cast(tf.equal(to_bias[0], -float("inf")), weight.dtype)
            arguments = [again, *others]
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(arguments)
                outputs_again = function(*arguments, statistics=statistics)[0]
            return tape.gradient(outputs_again, arguments, upstream)

        return (outputs, *statistics), grad

    results = call(weight, *others)
    return results[0], results[1:]
