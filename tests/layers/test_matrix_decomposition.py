import gc

import float64_reference as reference
import numpy as np
import pytest
import tensorflow as tf

from hamgan.architecture import HAM_NAMES
from hamgan.layers import (
    NMF,
    ConceptDecomposition,
    VectorQuantization,
    concept_decomposition,
    nmf,
    vector_quantization,
)
from hamgan.layers.hams import HAMS

BATCH, POSITIONS, LATENT_DIM, RANK = 3, 10, 7, 4

FUNCTIONS = {"nmf": nmf, "cd": concept_decomposition, "vq": vector_quantization}
LAYERS = {"nmf": NMF, "cd": ConceptDecomposition, "vq": VectorQuantization}
every_ham = pytest.mark.parametrize("ham", LAYERS)
every_num_steps = pytest.mark.parametrize("num_steps", [0, 1, 6])


def example(ham):
    rng = np.random.default_rng(7)
    inputs = rng.normal(size=(BATCH, POSITIONS, LATENT_DIM)).astype(np.float32)
    draw = rng.uniform if ham == "nmf" else rng.normal
    bases = draw(size=(BATCH, LATENT_DIM, RANK)).astype(np.float32)
    if ham == "vq":
        # Close to one direction: otherwise each position has a single basis, and the gradient is zero.
        direction = rng.normal(size=LATENT_DIM).astype(np.float32)
        inputs = (direction + 0.3 * inputs) * rng.uniform(0.5, 2, (BATCH, POSITIONS, 1)).astype(np.float32)
        bases = direction[:, None] + 0.3 * bases
    upstream = rng.normal(size=inputs.shape).astype(np.float32)
    return tf.constant(inputs), tf.constant(bases), tf.constant(upstream)


def one_step(ham, x, bases, num_steps):
    """The last step in float64, differentiable in x (channels first); bases and coefficients are constants."""
    if ham == "nmf":
        a, c = reference.nmf_factors(x.numpy(), bases, num_steps)
        x = tf.nn.relu(x)
        c = c * tf.matmul(x, a, transpose_a=True) / (c @ reference.transpose(a) @ a + 1e-6)
    elif ham == "vq":
        a = reference.vq_bases(x.numpy(), bases, num_steps)
        x = x / (1e-6 + np.linalg.norm(x.numpy(), axis=1, keepdims=True))
        c = tf.nn.softmax(100 * tf.matmul(x, reference.l2_normalize(a, axis=1), transpose_a=True))
    else:
        a = reference.cd_bases(x.numpy(), bases, num_steps)
        ridge = reference.transpose(a) @ a + 0.01 * np.eye(RANK)
        c = tf.matmul(tf.matmul(x, a, transpose_a=True), np.linalg.inv(ridge))
    return tf.matmul(a, c, transpose_b=True)


def test_hams_match_the_names_in_configs():
    assert LAYERS == HAMS
    assert tuple(HAMS) == HAM_NAMES


@every_ham
@every_num_steps
def test_decomposition_matches_float64_definition(ham, num_steps):
    inputs, bases, _ = example(ham)
    outputs = FUNCTIONS[ham](inputs, bases, num_steps=num_steps)
    expected = reference.DECOMPOSITIONS[ham](reference.transpose(inputs.numpy()), bases, num_steps)
    assert reference.relative_error(outputs, reference.transpose(expected)) < 1e-5


@every_ham
@every_num_steps
@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_one_step_gradient_is_that_of_the_last_step(ham, num_steps, dtype):
    inputs, bases, upstream = (tf.cast(tensor, dtype) for tensor in example(ham))
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = FUNCTIONS[ham](inputs, bases, num_steps=num_steps)
    gradient = tape.gradient(outputs, inputs, upstream)

    x = tf.cast(tf.linalg.matrix_transpose(inputs), tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(x)
        expected_outputs = one_step(ham, x, bases.numpy(), num_steps)
    expected = tape.gradient(expected_outputs, x, tf.cast(tf.linalg.matrix_transpose(upstream), tf.float64))
    # The softmax of vector quantisation amplifies rounding errors by its inverse temperature, 100.
    tolerance = 1e-12 if dtype == tf.float64 else 1e-4 if ham == "vq" else 1e-5
    assert reference.relative_error(gradient, reference.transpose(expected.numpy())) < tolerance


def test_nmf_passes_no_gradient_where_the_input_is_not_positive():
    inputs, bases, upstream = example("nmf")
    inputs = tf.tensor_scatter_nd_update(inputs, [[0, 0, 0]], [0.0])
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = nmf(inputs, bases, num_steps=2)
    gradient = tape.gradient(outputs, inputs, upstream).numpy()
    np.testing.assert_array_equal(gradient != 0, inputs.numpy() > 0)


def test_vector_quantization_of_zeros_is_finite():
    inputs, bases, upstream = example("vq")
    inputs = tf.tensor_scatter_nd_update(inputs, [[0, 0]], tf.zeros((1, LATENT_DIM)))
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = vector_quantization(inputs, bases, num_steps=2)
    assert np.isfinite(outputs).all()
    assert np.isfinite(tape.gradient(outputs, inputs, upstream)).all()


@every_ham
def test_no_gradient_reaches_initial_bases(ham):
    inputs, bases, _ = example(ham)
    with tf.GradientTape() as tape:
        tape.watch([inputs, bases])
        outputs = FUNCTIONS[ham](inputs, bases, num_steps=1)
    to_inputs, to_bases = tape.gradient(outputs, [inputs, bases])
    assert to_inputs is not None
    assert to_bases is None


def tensors_alive(kind):
    gc.collect()
    return {id(candidate): candidate for candidate in gc.get_objects() if type(candidate) is kind}


def tensors_alive_under_tape(function, inputs, num_steps):
    """Returns the number of tensors that a call keeps alive for its gradient."""
    before = tensors_alive(type(inputs))  # Keeps tensors of other tests alive meanwhile.
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = function(inputs, num_steps)
        created = tensors_alive(type(inputs)).keys() - before.keys()
    assert tape.gradient(outputs, inputs) is not None
    return len(created)


def unrolled(x, num_steps):
    for _ in range(num_steps):
        x = tf.tanh(x)
    return x


@pytest.mark.slow
def test_tensors_alive_includes_those_that_a_tape_keeps():
    inputs = tf.ones((2, 2))
    assert tensors_alive_under_tape(unrolled, inputs, 20) >= tensors_alive_under_tape(unrolled, inputs, 1) + 19


@pytest.mark.slow
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


# N >> D > R and R * R > D, so that N * N, or D * D per position, would exceed the size of the input.
COST_BATCH, COST_POSITIONS, COST_LATENT_DIM, COST_RANK = 2, 96, 8, 4


def traced_cost(function, num_steps):
    """Reads the graph of a call and its gradient.

    Returns the number of elements of the largest tensor, and the bytes that the forward pass keeps for the gradient.
    """
    inputs = tf.TensorSpec((COST_BATCH, COST_POSITIONS, COST_LATENT_DIM))
    bases = tf.TensorSpec((COST_BATCH, COST_LATENT_DIM, COST_RANK))
    forward, gradients = set(), []

    @tf.function
    def run(x, bases, upstream):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = function(x, bases, num_steps=num_steps)
        forward.update(x.graph.get_operations())
        gradients.append(tape.gradient(outputs, x, upstream))
        forward.discard(upstream.op)
        return outputs, gradients[0]

    graph = run.get_concrete_function(inputs, bases, inputs).graph
    definition = graph.as_graph_def(add_shapes=True)
    bodies = [definition.node, *(nested.node_def for nested in definition.library.function)]
    shapes = [shape for nodes in bodies for node in nodes for shape in node.attr["_output_shapes"].list.shape]

    kept, pending, seen = {}, [gradients[0]], set()
    while pending:
        tensor = pending.pop()
        if tensor.op in forward:
            kept[tensor.name] = tensor.shape.num_elements() * tensor.dtype.size
        elif tensor.op not in seen:
            seen.add(tensor.op)
            pending.extend(tensor.op.inputs)
    return max(tf.TensorShape(shape).num_elements() for shape in shapes), sum(kept.values())


@tf.function
def quadratic(x, bases, *, num_steps):
    """A counterexample with quadratic memory, and a gradient through all steps."""
    del bases
    for _ in range(num_steps):
        x = tf.matmul(tf.nn.softmax(tf.matmul(x, x, transpose_b=True)), x)
    return x


def test_traced_cost_detects_quadratic_memory():
    (largest, kept), (_, more_kept) = (traced_cost(quadratic, num_steps) for num_steps in (1, 3))
    assert largest == COST_BATCH * COST_POSITIONS**2
    assert more_kept > kept + 2 * 4 * largest


@every_ham
def test_no_intermediate_result_is_larger_than_the_input(ham):
    largest, _ = traced_cost(FUNCTIONS[ham], num_steps=3)
    assert largest == COST_BATCH * COST_POSITIONS * COST_LATENT_DIM


@every_ham
@pytest.mark.parametrize("num_steps", [1, 20])
def test_backward_pass_keeps_a_minimum_of_tensors(ham, num_steps):
    bases, coefficients = 4 * COST_LATENT_DIM * COST_RANK, 4 * COST_POSITIONS * COST_RANK
    expected = {
        "nmf": bases + coefficients + COST_POSITIONS * COST_LATENT_DIM,  # and the mask X > 0, one byte per element
        "cd": 2 * bases,  # A and A (A^T A + ridge)^-1
        "vq": 2 * bases + coefficients + 4 * COST_POSITIONS,  # A, A_hat and 100 / |X|
    }
    _, kept = traced_cost(FUNCTIONS[ham], num_steps)
    assert kept == COST_BATCH * expected[ham]


@every_ham
@pytest.mark.parametrize("mode", ["eager", "graph", pytest.param("xla", marks=pytest.mark.slow)])
def test_layer_draws_a_sequence_of_bases_that_its_seed_determines(ham, mode):
    # Float64, because the softmax of vector quantisation can turn one unit in the last place of float32 into 1e-4.
    inputs = tf.cast(example(ham)[0], tf.float64)

    def sequence(seed, mode, draws_only):
        layer = LAYERS[ham](rank=RANK, num_steps=1, evaluation_bases="random", seed=seed, name="ham", dtype="float64")
        layer.build(inputs.shape)

        def compute():
            return layer.draw_bases(BATCH, LATENT_DIM) if draws_only else layer(inputs)

        compiled = compute if mode == "eager" else tf.function(compute, jit_compile=mode == "xla")
        return np.stack([compiled() for _ in range(3)])

    bases = sequence(5, mode, draws_only=True)
    assert all(np.abs(bases[i] - bases[j]).max() > 1e-3 for i, j in ((0, 1), (0, 2), (1, 2)))
    np.testing.assert_allclose(bases, sequence(5, "eager", draws_only=True), rtol=1e-4, atol=1e-5)
    assert np.abs(bases - sequence(6, "eager", draws_only=True)).max() > 1e-3
    expected = [FUNCTIONS[ham](inputs, drawn, num_steps=1) for drawn in bases]
    outputs = sequence(5, mode, draws_only=False)
    assert all(np.abs(outputs[i] - outputs[j]).max() > 1e-3 for i, j in ((0, 1), (0, 2), (1, 2)))
    np.testing.assert_allclose(outputs, expected, rtol=1e-9, atol=1e-9)


@every_ham
def test_layer_bases_differ_between_examples_and_have_the_stated_distribution(ham):
    bases = LAYERS[ham](rank=40, seed=3, name="ham").draw_bases(50, 30).numpy()
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
def test_layer_of_any_latent_dim_draws_fixed_bases_from_its_seed_for_the_one_at_hand(ham):
    inputs = example(ham)[0]
    layer, other = (LAYERS[ham](rank=RANK, num_steps=1, any_latent_dim=True, seed=5, name="ham") for _ in range(2))
    layer.build((None, POSITIONS, None))
    assert not [weight.name for weight in layer.weights if "bases" in weight.name]
    for part in (inputs, inputs[..., :3]):
        np.testing.assert_array_equal(layer(part), other(part))
    compiled = tf.function(layer, input_signature=[tf.TensorSpec((None, POSITIONS, None))])
    np.testing.assert_allclose(compiled(inputs), layer(inputs), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="running bases have a fixed latent_dim, received any_latent_dim=True"):
        LAYERS[ham](rank=RANK, any_latent_dim=True, evaluation_bases="running")


@every_ham
@pytest.mark.parametrize("shape", [(2, 4, 4, 3), (2, 3), (2, 4, None)])
def test_layer_rejects_other_shapes(ham, shape):
    with pytest.raises(ValueError, match=r"expects \(batch, positions, latent_dim\)"):
        LAYERS[ham](rank=2).build(shape)


WRONG_BASES = [
    (1, LATENT_DIM, RANK),
    (2 * BATCH, LATENT_DIM, RANK),
    (BATCH, LATENT_DIM, 1),
    (BATCH, 1, RANK),
    (BATCH, RANK, LATENT_DIM),
    (LATENT_DIM, RANK),
    (),
]


@every_ham
@pytest.mark.parametrize("shape", WRONG_BASES)
def test_initial_bases_that_would_broadcast_are_rejected(ham, shape):
    layer = LAYERS[ham](rank=RANK)
    with pytest.raises(
        ValueError, match=r"initial_bases must have shape \(batch, latent_dim, rank\), here \(3, 7, 4\)"
    ):
        layer(example(ham)[0], initial_bases=np.ones(shape, np.float32))
    if shape != (BATCH, LATENT_DIM, 1):  # The function accepts any rank.
        with pytest.raises(ValueError, match="initial_bases must have shape"):
            FUNCTIONS[ham](example(ham)[0], tf.ones(shape), num_steps=1)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_initial_bases_of_unknown_shape_are_rejected_when_the_graph_runs(jit_compile):
    layer = LAYERS["nmf"](rank=RANK)
    inputs, bases, _ = example("nmf")
    unknown = [tf.TensorSpec((None, None, LATENT_DIM)), tf.TensorSpec((None, None, None))]
    call = tf.function(lambda x, bases: layer(x, initial_bases=bases), unknown, jit_compile=jit_compile)
    np.testing.assert_allclose(call(inputs, bases), layer(inputs, initial_bases=bases), rtol=1e-4, atol=1e-5)
    message = "requested shape|reshape" if jit_compile else "initial_bases must have shape"
    for shape in WRONG_BASES[:4]:
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            call(inputs, tf.ones(shape))


@every_ham
def test_inputs_of_another_rank_are_rejected(ham):
    layer = LAYERS[ham](rank=RANK)
    layer(example(ham)[0])
    with pytest.raises(ValueError, match="expected ndim=3, found ndim=2"):
        layer(example(ham)[0][0])
    with pytest.raises(ValueError, match="expected axis -1 of input shape to have value 7"):
        layer(example(ham)[0][:, :, :3])
    with pytest.raises(
        ValueError, match=r"inputs must have shape \(batch, positions, latent_dim\), received \(10, 7\)"
    ):
        FUNCTIONS[ham](example(ham)[0][0], example(ham)[1], num_steps=1)


@every_ham
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("training", [False, True])
def test_half_precision_is_computed_in_float32(ham, dtype, training):
    """Includes layers in pure half precision, which has no Cholesky kernel and rounds an epsilon of 1e-6 away."""
    inputs, bases, upstream = (tf.cast(tensor, dtype) for tensor in example(ham))
    settings = {"bases": "running", "evaluation_bases": "running", "seed": 0, "name": "ham"}
    layer, wide = (LAYERS[ham](rank=RANK, dtype=each, **settings) for each in (dtype, "float32"))

    def results(layer, inputs, bases, upstream):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, initial_bases=bases, training=training)
        gradient = tape.gradient(outputs, inputs, upstream)
        return outputs, gradient, layer(inputs, training=training)

    found = results(layer, inputs, bases, upstream)
    expected = results(wide, *(tf.cast(tensor, tf.float32) for tensor in (inputs, bases, upstream)))
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == dtype
        np.testing.assert_array_equal(ours, tf.cast(theirs, dtype))
    assert layer.running_bases.dtype == "float32"
    np.testing.assert_array_equal(layer.running_bases, wide.running_bases)


def by_both_ways(inputs, bases, **settings):
    """Concept decomposition outside training, with fixed bases, and with the same bases passed to the call."""
    layer = ConceptDecomposition(rank=bases.shape[-1], **settings)
    layer.build(inputs.shape)
    layer.fixed_bases.assign(bases)
    return layer(inputs), layer(inputs, initial_bases=np.tile(bases, (len(inputs), 1, 1)))


@pytest.mark.parametrize("ridge", [0.01, 0.1])
@pytest.mark.parametrize(("latent_dim", "rank"), [(64, 32), (16, 4), (16, 64)])
@pytest.mark.parametrize("spread", [0.0, 0.01, 0.1, 10.0])
def test_regression_by_products_matches_cholesky(ridge, latent_dim, rank, spread):
    """Bases range from nearly identical to independent."""
    rng = np.random.default_rng(0)
    bases = rng.normal(size=(1, latent_dim, 1)) + spread * rng.normal(size=(1, latent_dim, rank))
    bases = (bases / np.linalg.norm(bases, axis=1, keepdims=True)).astype(np.float32)
    mixed = reference.transpose(bases @ rng.dirichlet(np.ones(rank), (2, 50)).swapaxes(1, 2))
    inputs = (3 * mixed + 0.3 * rng.normal(size=(2, 50, latent_dim))).astype(np.float32)
    by_products, by_cholesky = by_both_ways(inputs, bases, num_steps=0, ridge=ridge)
    assert reference.relative_error(by_products, by_cholesky) < 1e-5


def test_regression_by_products_is_exact_in_float64():
    inputs, bases, _ = (tf.cast(tensor, tf.float64) for tensor in example("cd"))
    by_products, by_cholesky = by_both_ways(inputs, bases[:1].numpy(), dtype="float64")
    assert reference.relative_error(by_products, by_cholesky) < 1e-13


@every_ham
def test_functions_accept_arrays(ham):
    inputs, bases, _ = example(ham)
    outputs = FUNCTIONS[ham](inputs.numpy(), bases.numpy().astype(np.float64), num_steps=2)
    np.testing.assert_array_equal(outputs, FUNCTIONS[ham](inputs, bases, num_steps=2))


@every_ham
@pytest.mark.parametrize("arguments", [{"rank": 0}, {"rank": 2, "num_steps": -1}])
def test_layer_rejects_arguments_out_of_range(ham, arguments):
    with pytest.raises(ValueError, match="rank must be positive and num_steps not negative"):
        LAYERS[ham](**arguments)
