import gc

import float64_reference as reference
import numpy as np
import pytest
import tensorflow as tf

from hamgan.layers import NMF, ConceptDecomposition, concept_decomposition, nmf

BATCH, POSITIONS, LATENT_DIM, RANK = 3, 10, 7, 4

FUNCTIONS = {"nmf": nmf, "cd": concept_decomposition}
LAYERS = {"nmf": NMF, "cd": ConceptDecomposition}
every_ham = pytest.mark.parametrize("ham", ["nmf", "cd"])
every_num_steps = pytest.mark.parametrize("num_steps", [0, 1, 6])


def example(ham):
    rng = np.random.default_rng(7)
    inputs = rng.normal(size=(BATCH, POSITIONS, LATENT_DIM)).astype(np.float32)
    draw = rng.uniform if ham == "nmf" else rng.normal
    bases = draw(size=(BATCH, LATENT_DIM, RANK)).astype(np.float32)
    upstream = rng.normal(size=inputs.shape).astype(np.float32)
    return tf.constant(inputs), tf.constant(bases), tf.constant(upstream)


def one_step(ham, x, bases, num_steps):
    """SPEC's last step in float64, differentiable in x (channels first); bases and coefficients are constants."""
    if ham == "nmf":
        a, c = reference.nmf_factors(x.numpy(), bases, num_steps)
        x = tf.nn.relu(x)
        c = c * tf.matmul(x, a, transpose_a=True) / (c @ reference.transpose(a) @ a + 1e-6)
    else:
        a = reference.cd_bases(x.numpy(), bases, num_steps)
        ridge = reference.transpose(a) @ a + 0.01 * np.eye(RANK)
        c = tf.matmul(tf.matmul(x, a, transpose_a=True), np.linalg.inv(ridge))
    return tf.matmul(a, c, transpose_b=True)


@every_ham
@every_num_steps
def test_decomposition_matches_float64_definition(ham, num_steps):
    inputs, bases, _ = example(ham)
    outputs = FUNCTIONS[ham](inputs, bases, num_steps=num_steps)
    expected = reference.DECOMPOSITIONS[ham](reference.transpose(inputs.numpy()), bases, num_steps)
    assert reference.relative_error(outputs, reference.transpose(expected)) < 1e-5


@every_ham
@every_num_steps
def test_gradient_is_that_of_the_last_step_alone(ham, num_steps):
    inputs, bases, upstream = example(ham)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = FUNCTIONS[ham](inputs, bases, num_steps=num_steps)
    gradient = tape.gradient(outputs, inputs, upstream)

    x = tf.cast(tf.linalg.matrix_transpose(inputs), tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(x)
        expected_outputs = one_step(ham, x, bases.numpy(), num_steps)
    expected = tape.gradient(expected_outputs, x, tf.cast(tf.linalg.matrix_transpose(upstream), tf.float64))
    assert reference.relative_error(gradient, reference.transpose(expected.numpy())) < 1e-5


def test_nmf_passes_no_gradient_where_the_input_is_not_positive():
    inputs, bases, upstream = example("nmf")
    inputs = tf.tensor_scatter_nd_update(inputs, [[0, 0, 0]], [0.0])
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = nmf(inputs, bases, num_steps=2)
    gradient = tape.gradient(outputs, inputs, upstream).numpy()
    np.testing.assert_array_equal(gradient != 0, inputs.numpy() > 0)


@every_ham
def test_no_gradient_reaches_initial_bases(ham):
    inputs, bases, _ = example(ham)
    with tf.GradientTape() as tape:
        tape.watch([inputs, bases])
        outputs = FUNCTIONS[ham](inputs, bases, num_steps=1)
    to_inputs, to_bases = tape.gradient(outputs, [inputs, bases])
    assert to_inputs is not None
    assert to_bases is None


def tensors_alive_under_tape(function, inputs, num_steps):
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = function(inputs, num_steps)
        gc.collect()
        alive = sum(type(candidate) is type(inputs) for candidate in gc.get_objects())
    assert tape.gradient(outputs, inputs) is not None
    return alive


def unrolled(x, num_steps):
    for _ in range(num_steps):
        x = tf.tanh(x)
    return x


def test_counting_live_tensors_sees_what_a_tape_keeps():
    inputs = tf.ones((2, 2))
    assert tensors_alive_under_tape(unrolled, inputs, 20) >= tensors_alive_under_tape(unrolled, inputs, 1) + 19


@every_ham
def test_eager_backward_memory_does_not_grow_with_steps(ham):
    inputs, bases, _ = example(ham)

    def decompose(x, num_steps):
        return FUNCTIONS[ham](x, bases, num_steps=num_steps)

    decompose(inputs, 1)  # constants that TensorFlow caches on first use
    assert tensors_alive_under_tape(decompose, inputs, 20) == tensors_alive_under_tape(decompose, inputs, 1)


def graph_operations(ham, num_steps, *, with_gradient):
    inputs, bases, upstream = example(ham)

    @tf.function
    def run(x, bases):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = FUNCTIONS[ham](x, bases, num_steps=num_steps)
        return (outputs, tape.gradient(outputs, x, upstream)) if with_gradient else outputs

    return len(run.get_concrete_function(inputs, bases).graph.get_operations())


@every_ham
def test_graph_backward_does_not_grow_with_steps(ham):
    forward = {k: graph_operations(ham, k, with_gradient=False) for k in (1, 20)}
    both = {k: graph_operations(ham, k, with_gradient=True) for k in (1, 20)}
    assert forward[20] > forward[1]
    assert both[1] > forward[1]
    assert both[20] - forward[20] == both[1] - forward[1]


@every_ham
@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
def test_layer_draws_fresh_bases_in_a_sequence_given_by_its_seed(ham, mode):
    inputs = example(ham)[0]

    def sequence(seed, mode):
        layer = LAYERS[ham](rank=RANK, num_steps=1, seed=seed)
        layer.build(inputs.shape)
        call = layer if mode == "eager" else tf.function(layer, jit_compile=mode == "xla")
        return np.stack([call(inputs) for _ in range(3)])

    first = sequence(5, mode)
    assert all(np.abs(first[i] - first[j]).max() > 1e-3 for i, j in ((0, 1), (0, 2), (1, 2)))
    np.testing.assert_allclose(first, sequence(5, "eager"), rtol=1e-4, atol=1e-5)
    assert np.abs(first - sequence(6, "eager")).max() > 1e-3


@every_ham
def test_layer_bases_differ_between_examples_and_have_the_stated_distribution(ham):
    bases = LAYERS[ham](rank=40, seed=3).draw_bases(50, 30).numpy()
    assert bases.shape == (50, 30, 40)
    assert np.abs(bases[0] - bases[1]).max() > 0.1
    mean, variance = (0.5, 1 / 12) if ham == "nmf" else (0.0, 1.0)
    assert bases.mean() == pytest.approx(mean, abs=0.02)
    assert bases.var() == pytest.approx(variance, rel=0.02)
    if ham == "nmf":
        assert bases.min() >= 0
        assert bases.max() < 1


@every_ham
def test_layer_uses_the_given_bases_and_its_own_steps(ham):
    inputs, bases, _ = example(ham)
    outputs = LAYERS[ham](rank=RANK, num_steps=3)(inputs, initial_bases=bases)
    np.testing.assert_array_equal(outputs, FUNCTIONS[ham](inputs, bases, num_steps=3))


@every_ham
@pytest.mark.parametrize("shape", [(2, 4, 4, 3), (2, 3), (2, 4, None)])
def test_layer_rejects_other_shapes(ham, shape):
    with pytest.raises(ValueError, match=r"expects \(batch, positions, latent_dim\)"):
        LAYERS[ham](rank=2).build(shape)


@every_ham
@pytest.mark.parametrize("arguments", [{"rank": 0}, {"rank": 2, "num_steps": -1}])
def test_layer_rejects_arguments_out_of_range(ham, arguments):
    with pytest.raises(ValueError, match="rank must be positive and num_steps not negative"):
        LAYERS[ham](**arguments)
