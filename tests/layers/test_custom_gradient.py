import tensorflow as tf

from hamgan.layers.custom_gradient import custom_gradient
from hamgan.layers.execution import execution
from hamgan.networks.blocks import GeneratorBlock


@custom_gradient
def product(x, y):
    return x * y, lambda upstream: (upstream * y, upstream * x)


def test_custom_gradient_applies_in_eager_mode():
    x, y = tf.constant(3.0), tf.constant(5.0)
    with tf.GradientTape() as tape:
        tape.watch([x, y])
        outputs = product(x, y)
    assert float(outputs) == 15.0
    assert [float(gradient) for gradient in tape.gradient(outputs, [x, y])] == [5.0, 3.0]


def test_functions_for_export_have_no_custom_gradient():
    @custom_gradient
    def square(x):
        return x * x, lambda upstream: 100 * upstream

    def value_and_gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = square(x)
        return [float(outputs), float(tape.gradient(outputs, x))]

    assert value_and_gradient(tf.constant(3.0)) == [9.0, 100.0]
    with execution(differentiable=False):
        assert value_and_gradient(tf.constant(3.0)) == [9.0, 6.0]


# Profiles show the names of operations, so this test reads them.
def test_gradients_are_named_after_their_layer():
    with execution(convolution_form="products"):
        block = GeneratorBlock(8, num_classes=3)
    block.build((2, 4, 4, 8))

    @tf.function
    def gradients(images):
        with tf.GradientTape() as tape:
            outputs = block(images, tf.constant([0, 2]), training=True)
        return tape.gradient(outputs, [variable.value for variable in block.trainable_variables])

    graph = gradients.get_concrete_function(tf.TensorSpec((2, 4, 4, 8))).graph
    products = [operation.name for operation in graph.get_operations() if operation.type == "BatchMatMulV2"]
    of_gradients = [name for name in products if name.startswith("gradient_tape/")]
    assert of_gradients
    assert len(of_gradients) < len(products)
    assert all("conv" in name.split("/")[-2] for name in products)
