import numpy as np
import pytest
import tensorflow as tf

from hamgan.layers.activation import relu
from hamgan.layers.execution import execution

VALUES = [-2.0, -0.0, 0.0, 1e-30, 0.5, 3.0, np.nan]


@pytest.mark.parametrize("device", ["cpu", "gpu", "tpu"])
@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
@pytest.mark.parametrize("stores_mask", [False, True])
def test_relu_equals_tensorflows_on_every_device(device, dtype, stores_mask):
    inputs = tf.constant(VALUES, dtype)
    upstream = tf.constant([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], dtype)

    def values_and_gradient(function):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = function(inputs)
        return outputs.numpy(), tape.gradient(outputs, inputs, upstream).numpy()

    with execution(target=device):
        found = values_and_gradient(lambda x: relu(x, stores_mask=stores_mask))
    for ours, expected in zip(found, values_and_gradient(tf.nn.relu), strict=True):
        np.testing.assert_array_equal(ours[:-1], expected[:-1])  # The gradient at NaN is unspecified.
    assert np.isnan(found[0][-1])


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_gradient_penalty_on_tpus_equals_that_of_tensorflows_relu(mode):
    inputs = tf.constant([[-1.0, 0.5], [2.0, -3.0]])
    weights = tf.constant([[1.0, -2.0], [0.5, 3.0]])

    def penalty_gradient(function):
        with tf.GradientTape() as tape:
            tape.watch(weights)
            with tf.GradientTape() as inner:
                inner.watch(inputs)
                outputs = tf.reduce_sum(function(inputs @ weights) ** 3)
            penalty = tf.reduce_sum(inner.gradient(outputs, inputs) ** 2)
        return tape.gradient(penalty, weights)

    with execution(target="tpu"):
        found = (tf.function(penalty_gradient) if mode == "graph" else penalty_gradient)(relu)
    np.testing.assert_allclose(found, penalty_gradient(tf.nn.relu), rtol=1e-6)


# Reads the graph, because the values do not depend on which tensor the gradient reads.
def test_gradient_on_tpus_reads_the_rounded_output():
    def reads(device, stores_mask=False):
        """The dtypes of the tensors that are compared with zero."""

        @tf.function
        def gradient(inputs):
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                outputs = relu(inputs, stores_mask=stores_mask)
            return tape.gradient(outputs, inputs)

        with execution(target=device):
            graph = gradient.get_concrete_function(tf.TensorSpec((3,))).graph
        return [operation.inputs[0].dtype for operation in graph.get_operations() if operation.type == "Greater"]

    assert reads("tpu") == [tf.bfloat16]
    assert reads("cpu") == reads("gpu") == []
    assert reads("tpu", stores_mask=True) == [tf.bfloat16]
    assert reads("cpu", stores_mask=True) == reads("gpu", stores_mask=True) == [tf.float32]
