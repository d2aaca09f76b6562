"""Comparison of second derivatives with finite differences of first derivatives, in float64."""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

STEP = 1e-5


def random_like(tensors: Sequence[tf.Tensor], seed: int) -> list[tf.Tensor]:
    rng = np.random.default_rng(seed)
    return [tf.constant(rng.normal(size=tensor.shape), tensor.dtype) for tensor in tensors]


def assert_right_to_second_order(
    function: Callable[..., tf.Tensor],
    *inputs: np.ndarray,
    mode: str = "graph",
    tolerance: float = 1e-6,
    constants: Sequence[int] = (),
) -> None:
    """Checks the gradient of a random combination of the gradients of ``function``.

    The combination is differentiated with respect to the inputs and to the upstream gradient, along one random
    direction for each, and compared with central differences.

    Args:
        function: function of float64 tensors that returns a tensor.
        inputs: values at which to differentiate.
        mode: "eager", "graph" or "xla".
        tolerance: maximum relative error.
        constants: indices of inputs without a gradient.
    """
    points = [tf.constant(each, tf.float64) for each in inputs]
    varied = [index for index in range(len(points)) if index not in constants]
    upstream = random_like([function(*points)], seed=1)[0]
    directions = random_like([*points, upstream], seed=2)
    weights = random_like(points, seed=3)

    def combined_gradients(points: Sequence[tf.Tensor], upstream: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(points)
            outputs = function(*points)
        gradients = tape.gradient(outputs, [points[index] for index in varied], upstream)
        return tf.add_n([tf.reduce_sum(weights[index] * each) for index, each in zip(varied, gradients, strict=True)])

    def derivatives(points: Sequence[tf.Tensor], upstream: tf.Tensor) -> list[tf.Tensor]:
        arguments = [*points, upstream]
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            combined = combined_gradients(points, upstream)
        gradients = tape.gradient(combined, arguments, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return [tf.reduce_sum(g * d) for g, d in zip(gradients, directions, strict=True)]

    if mode != "eager":
        derivatives = tf.function(derivatives, jit_compile=mode == "xla")
    found = derivatives(points, upstream)
    compiled = tf.function(combined_gradients)
    expected = []
    for index in range(len(points) + 1):
        values = []
        for sign in (1, -1):
            moved = [*points, upstream]
            moved[index] = moved[index] + sign * STEP * directions[index]
            values.append(float(compiled(moved[:-1], moved[-1])))
        expected.append((values[0] - values[1]) / (2 * STEP) if index not in constants else 0.0)
    scale = max(np.abs(expected))
    assert scale > 0
    for index, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        if index not in constants:
            assert abs(float(ours) - theirs) <= tolerance * scale, (index, float(ours), theirs)
