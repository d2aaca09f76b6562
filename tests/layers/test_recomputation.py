import numpy as np
import pytest
import tensorflow as tf

from hamgan.layers.recomputation import recomputed
from hamgan.layers.target import tracing_for
from hamgan.networks.blocks import GeneratorBlock

NUM_CLASSES = 3
LABELS = (0, 2)


def images():
    return tf.random.stateless_normal((2, 4, 4, 6), (0, 1), dtype=tf.float64)


def built_block(**arguments):
    block = GeneratorBlock(5, num_classes=NUM_CLASSES, convolution_form="strided", dtype="float64", **arguments)
    block.build(images().shape)
    for index, variable in enumerate(block.weights):
        variable.assign(tf.random.stateless_uniform(variable.shape, (index, 2), 0.5, 1.5, dtype=tf.float64))
    return block


def results(block):
    """Outputs, gradients and the state after one pass."""
    variables = [variable.value for variable in block.trainable_variables]
    with tf.GradientTape() as tape:
        inputs = images()
        tape.watch(inputs)
        outputs = block(inputs, tf.constant(LABELS), training=True)
        upstream = tf.random.stateless_normal(outputs.shape, (0, 3), dtype=tf.float64)
    gradients = tape.gradient(outputs, [inputs, *variables], upstream)
    tensors = [tf.convert_to_tensor(tensor) for tensor in (outputs, *gradients)]
    return [tensor.numpy() for tensor in tensors] + [variable.numpy() for variable in block.weights]


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_a_block_that_is_recomputed_is_the_same_block(mode):
    tf.config.run_functions_eagerly(mode == "eager")
    try:
        expected = results(built_block())
        with tracing_for("tpu"):
            found = results(built_block(recompute=True))
    finally:
        tf.config.run_functions_eagerly(False)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10)


def test_a_gradient_penalty_of_a_block_that_is_recomputed_is_the_same():
    def penalty_gradients(block):
        inputs, variables = images(), [variable.value for variable in block.trainable_variables]
        with tf.GradientTape() as tape:
            with tf.GradientTape() as inner:
                inner.watch(inputs)
                outputs = tf.reduce_sum(block(inputs, tf.constant(LABELS), training=True) ** 3)
            penalty = tf.reduce_sum(inner.gradient(outputs, inputs) ** 2)
        return tape.gradient(penalty, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    expected = penalty_gradients(built_block())
    with tracing_for("tpu"):
        found = tf.function(penalty_gradients)(built_block(recompute=True))
    found, expected = (list(map(tf.convert_to_tensor, gradients)) for gradients in (found, expected))
    largest = max(np.abs(gradient).max() for gradient in expected)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-12 * largest)


@pytest.mark.parametrize(("device", "recompute", "count"), [("tpu", True, 1), ("tpu", False, 0), ("cpu", True, 0)])
def test_a_block_convolves_again_where_it_is_told_to_on_tpus(device, recompute, count):
    block = built_block(recompute=recompute)

    @tf.function
    def gradient(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = block(inputs, tf.constant(LABELS), training=True)
        return tape.gradient(outputs, inputs)

    with tracing_for(device):
        operations = gradient.get_concrete_function(images()).graph.get_operations()
    # In the strided form a convolution after upsampling is a transposed one; of its gradients none is.
    names = [operation.name for operation in operations if operation.type == "Conv2DBackpropInput"]
    again = [name for name in names if name.startswith("gradient_tape/") and name.endswith("conv2d_transpose")]
    assert len(again) == count


def test_statistics_over_all_replicas_are_not_reduced_again(monkeypatch, two_replicas):
    monkeypatch.setattr("hamgan.networks.blocks.target", lambda: "tpu")  # Replicas are traced in threads of their own.

    def gradients(recompute):
        with two_replicas.scope():
            block = built_block(recompute=recompute)

        @tf.function
        def step():
            def of_replica():
                replica = tf.distribute.get_replica_context().replica_id_in_sync_group
                inputs = images() * tf.cast(1 + replica, tf.float64)
                with tf.GradientTape() as tape:
                    outputs = block(inputs, tf.constant(LABELS), training=True)
                    loss = tf.reduce_sum(outputs**3)
                return tape.gradient(loss, [variable.value for variable in block.trainable_variables])

            return two_replicas.run(of_replica)

        reductions = step.get_concrete_function().graph.as_graph_def()
        count = sum(node.op == "CollectiveReduceV2" or node.op == "AddN" for node in reductions.node)
        return count, [value.numpy() for each in step() for value in two_replicas.experimental_local_results(each)]

    (count, expected), (count_again, found) = gradients(False), gradients(True)
    assert count == count_again > 0
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10)


def test_xla_makes_it_anew():
    def products(recompute):
        def function(weight, x, statistics):
            hidden = tf.sin(x @ weight)
            return hidden @ hidden, [tf.reduce_mean(hidden) if statistics is None else statistics[0]]

        @tf.function(jit_compile=True)
        def gradient(weight, x, upstream):
            with tf.GradientTape() as tape:
                tape.watch(weight)
                outputs, _ = recomputed(function, weight, x) if recompute else function(weight, x, None)
            return tape.gradient(outputs, weight, upstream), outputs

        square = tf.ones((300, 300))
        return gradient.experimental_get_compiler_ir(square, square, square)(stage="optimized_hlo").count(" dot(")

    # Two forward and three backward; and one of the former again, for the other's result is not needed.
    assert products(False) == 5
    assert products(True) == 6
