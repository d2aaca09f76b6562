import inspect

import float64_reference as reference
import keras
import numpy as np
import pytest
import tensorflow as tf

import hamgan.layers
from hamgan.layers import (
    NMF,
    BatchNormalization,
    ChannelAttention,
    ConceptDecomposition,
    ConditionalBatchNormalization,
    CrissCrossAttention,
    DoubleAttention,
    EfficientAttention,
    EMAttention,
    ExternalAttention,
    GlobalContext,
    Hamburger,
    MultiHeadAttention,
    NonLocal,
    PyramidPooling,
    SegmentationContext,
    SegmentationHamburger,
    SelfAttention,
    SNConv2D,
    SNDense,
    SNEmbedding,
    SqueezeExcitation,
    VectorQuantization,
)
from hamgan.networks import blocks
from hamgan.networks.blocks import DiscriminatorBlock, GeneratorBlock

BATCH, NUM_CLASSES = 3, 5


def bfloat16_exact(array):
    """Rounds to bfloat16, so that mixed precision gets the same inputs."""
    return tf.cast(tf.cast(array, tf.bfloat16), tf.float32).numpy()


def images(channels=4):
    return bfloat16_exact(np.random.default_rng(0).normal(size=(BATCH, 4, 6, channels)))


def labels():
    return np.array([4, 1, 4], np.int32)


def class_weights():
    return np.random.default_rng(4).dirichlet(np.ones(NUM_CLASSES), BATCH).astype(np.float32)


def bases(ham, latent_dim, rank, num_sections=1):
    rng = np.random.default_rng(1)
    draw = rng.uniform if ham == "nmf" else rng.normal
    return bfloat16_exact(draw(size=(BATCH * num_sections, latent_dim, rank)))


def decomposition_inputs(ham):
    tensors = {"inputs": np.random.default_rng(0).normal(size=(BATCH, 8, 6)), "initial_bases": bases(ham, 6, 2)}
    if ham == "vq":
        # Close to one direction: otherwise each position has a single basis, and the gradient is zero.
        tensors = {name: 1 + 0.3 * value for name, value in tensors.items()}
    return {name: bfloat16_exact(value) for name, value in tensors.items()}


HAMBURGER = {"latent_dim": 6, "rank": 2, "num_steps": 2, "seed": 5, "batch_norm_momentum": 0.9}
SEGMENTATION_HAMBURGER = {"latent_dim": 6, "rank": 2, "num_steps": 2, "seed": 5}

# Name: class, arguments (with values other than the defaults where possible), tensors of the call.
CASES = {
    "nmf": (NMF, {"rank": 2, "num_steps": 3, "seed": 5}, decomposition_inputs("nmf")),
    "cd": (ConceptDecomposition, {"rank": 2, "num_steps": 3, "seed": 5}, decomposition_inputs("cd")),
    "vq": (VectorQuantization, {"rank": 2, "num_steps": 3, "seed": 5}, decomposition_inputs("vq")),
    "batch_norm": (BatchNormalization, {"momentum": 0.9, "epsilon": 1e-2}, {"inputs": images()}),
    "conditional_batch_norm": (
        ConditionalBatchNormalization,
        {"num_classes": NUM_CLASSES, "momentum": 0.9, "epsilon": 1e-2},
        {"inputs": images(), "labels": labels()},
    ),
    "conditional_batch_norm_of_mixed_classes": (
        ConditionalBatchNormalization,
        {"num_classes": NUM_CLASSES, "momentum": 0.9, "epsilon": 1e-2},
        {"inputs": images(), "class_weights": class_weights()},
    ),
    "conv": (SNConv2D, {"filters": 5, "kernel_size": 3, "norm_floor": 0.5}, {"inputs": images()}),
    "conv_upsampling": (
        SNConv2D,
        {"filters": 5, "kernel_size": 3, "resampling": "up", "form": "products"},
        {"inputs": images()},
    ),
    "conv_pooling": (SNConv2D, {"filters": 5, "kernel_size": 3, "resampling": "down"}, {"inputs": images()}),
    "conv_no_bias": (SNConv2D, {"filters": 5, "kernel_size": 1, "use_bias": False}, {"inputs": images()}),
    "dense": (SNDense, {"units": 5, "norm_floor": 0.5}, {"inputs": images()[:, 0, 0]}),
    "embedding": (SNEmbedding, {"num_classes": NUM_CLASSES, "width": 4, "norm_floor": 0.5}, {"labels": labels()}),
    "hamburger_v1": (Hamburger, HAMBURGER, {"inputs": images(), "initial_bases": bases("nmf", 6, 2)}),
    "hamburger_v1_conditional": (
        Hamburger,
        {**HAMBURGER, "batch_norm": "conditional", "num_classes": NUM_CLASSES},
        {"inputs": images(), "labels": labels(), "initial_bases": bases("nmf", 6, 2)},
    ),
    "hamburger_v1_of_mixed_classes": (
        Hamburger,
        {**HAMBURGER, "batch_norm": "conditional", "num_classes": NUM_CLASSES},
        {"inputs": images(), "class_weights": class_weights(), "initial_bases": bases("nmf", 6, 2)},
    ),
    "hamburger_v2_cd_sections": (
        Hamburger,
        {**HAMBURGER, "version": "v2", "ham": "cd", "num_sections": 2, "batch_norm": "plain"},
        {"inputs": images(), "initial_bases": bases("cd", 6, 2, num_sections=2)},
    ),
    "hamburger_v1_vq": (
        Hamburger,
        {**HAMBURGER, "ham": "vq"},
        {"inputs": images(), "initial_bases": bases("vq", 6, 2)},
    ),
    "self_attention": (SelfAttention, {}, {"inputs": images(channels=8)}),
    # Without biases where one has no effect, and hence no gradient.
    "non_local": (NonLocal, {"reduction": 1, "use_bias": False, "batch_norm": "plain"}, {"inputs": images()}),
    "multi_head_attention": (MultiHeadAttention, {"num_heads": 2}, {"inputs": images()}),
    "double_attention": (
        DoubleAttention,
        {"feature_channels": 3, "attention_channels": 2, "use_bias": False, "spectral_norm": False},
        {"inputs": images()},
    ),
    "efficient_attention": (
        EfficientAttention,
        {"key_channels": 4, "value_channels": 6, "num_heads": 2, "use_bias": False},
        {"inputs": images()},
    ),
    "criss_cross_attention": (
        CrissCrossAttention,
        {"reduction": 2, "use_bias": False, "batch_norm": "conditional", "num_classes": NUM_CLASSES},
        {"inputs": images(), "labels": labels()},
    ),
    "channel_attention": (ChannelAttention, {}, {"inputs": images()}),
    "em_attention": (EMAttention, {"num_bases": 3, "bases_momentum": 0.8, "batch_norm": "plain"}, {"inputs": images()}),
    "em_attention_unrolled": (
        EMAttention,
        {"num_bases": 3, "num_steps": 2, "gradient": "unrolled", "spectral_norm": False},
        {"inputs": images()},
    ),
    "external_attention": (
        ExternalAttention,
        {"num_memories": 3, "epsilon": 1e-6, "use_bias": False},
        {"inputs": images()},
    ),
    "global_context": (
        GlobalContext,
        {"reduction": 2, "fusion": "both", "use_bias": False, "batch_norm": "conditional", "num_classes": NUM_CLASSES},
        {"inputs": images(channels=8), "labels": labels()},
    ),
    "pyramid_pooling": (PyramidPooling, {"scales": (1, 3), "branch_channels": 2}, {"inputs": images()}),
    "squeeze_excitation": (SqueezeExcitation, {"reduction": 2, "use_bias": True}, {"inputs": images()}),
    "segmentation_hamburger_v1_cd": (
        SegmentationHamburger,
        {**SEGMENTATION_HAMBURGER, "version": "v1", "ham": "cd", "batch_norm_momentum": 0.9},
        {"inputs": images(), "initial_bases": bases("cd", 6, 2)},
    ),
    "segmentation_hamburger_v2_channel": (
        SegmentationHamburger,
        {**SEGMENTATION_HAMBURGER, "form": "channel", "num_sections": 2, "batch_norm_momentum": 0.9},
        {"inputs": images(), "initial_bases": bases("nmf", 24, 2, num_sections=2)},
    ),
    "segmentation_hamburger_v2plus_dual": (
        SegmentationHamburger,
        {**SEGMENTATION_HAMBURGER, "version": "v2plus", "form": "dual", "num_sections": 2, "bases": "fixed"},
        {"inputs": images()},
    ),
    "segmentation_context": (
        SegmentationContext,
        {**SEGMENTATION_HAMBURGER, "ham": "vq", "batch_norm": "conditional", "num_classes": NUM_CLASSES},
        {"inputs": images(), "labels": labels(), "initial_bases": bases("vq", 6, 2)},
    ),
    "generator_block": (
        GeneratorBlock,
        {"channels": 3, "num_classes": NUM_CLASSES, "batch_norm_momentum": 0.9},
        {"inputs": images(), "labels": labels()},
    ),
    "discriminator_block": (DiscriminatorBlock, {"channels": 5}, {"inputs": images()}),
    "discriminator_block_first": (
        DiscriminatorBlock,
        {"channels": 5, "first": True},
        {"inputs": images(3)},
    ),
    "discriminator_block_last": (DiscriminatorBlock, {"channels": 4, "pool": False}, {"inputs": images()}),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


# For what does not depend on the arguments.
@pytest.fixture(params={cls: name for name, (cls, _, _) in CASES.items()}.values())
def case_of_class(request):
    return CASES[request.param]


def takes_training(cls):
    return "training" in inspect.signature(cls.call).parameters


def call(layer, tensors, training=False):
    return layer(**tensors, **({"training": training} if takes_training(type(layer)) else {}))


def built_layer(case, **arguments):
    cls, own_arguments, tensors = case
    layer = cls(**own_arguments, **arguments)
    call(layer, tensors)
    rng = np.random.default_rng(2)
    for weight in layer.weights:
        # sigma and biases are initially zero, which would hide errors.
        weight.assign(np.abs(rng.normal(size=weight.shape)) + 0.1)
    return layer


def public_layer_classes():
    exported = [getattr(hamgan.layers, name) for name in hamgan.layers.__all__]
    exported += [value for value in vars(blocks).values() if getattr(value, "__module__", None) == blocks.__name__]
    return {value for value in exported if inspect.isclass(value) and issubclass(value, keras.Layer)}


def test_cases_cover_every_public_layer():
    assert {cls for cls, _, _ in CASES.values()} == public_layer_classes()


def test_output_shape_and_dtype_match_compute_output_shape_and_spec(case):
    layer, tensors = built_layer(case), case[2]
    outputs = call(layer, tensors)
    shapes = [value.shape for name, value in tensors.items() if name in ("inputs", "labels")]
    assert tuple(layer.compute_output_shape(shapes[0])) == outputs.shape
    assert outputs.dtype == tf.float32
    specs = {name: keras.KerasTensor(value.shape, str(value.dtype)) for name, value in tensors.items()}
    spec = layer.compute_output_spec(**specs)
    assert spec.shape == outputs.shape
    assert spec.dtype == "float32"


def test_config_has_every_argument(case):
    cls, arguments, _ = case
    config = cls(**arguments).get_config()
    parameters = inspect.signature(cls.__init__).parameters.values()
    named = {p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)} - {"self"}
    assert named <= set(config)
    assert {name: config[name] for name in arguments} == arguments


def assert_round_trip(case, policy):
    cls, _, tensors = case
    layer = built_layer(case, name="mine", dtype=policy)
    expected = call(layer, tensors)
    for copy in (
        cls.from_config(layer.get_config()),
        keras.layers.deserialize(keras.layers.serialize(layer)),
    ):
        assert type(copy) is cls
        assert copy.get_config() == layer.get_config()
        call(copy, tensors)
        copy.set_weights(layer.get_weights())
        np.testing.assert_array_equal(call(copy, tensors), expected)


def test_config_round_trip_gives_the_same_layer(case):
    assert_round_trip(case, "float32")


def test_config_round_trip_keeps_the_precision(case_of_class):
    assert_round_trip(case_of_class, "mixed_bfloat16")


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["graph", "xla"])
def test_compiled_functions_agree_with_eager_execution(case, jit_compile):
    layer, tensors = built_layer(case), case[2]
    tensors = {name: tf.constant(value) for name, value in tensors.items()}
    initial = layer.get_weights()

    def evaluate_and_train(given):
        return call(layer, given), call(layer, given, training=True)

    expected = evaluate_and_train(tensors)
    expected_state = layer.get_weights()
    compiled = tf.function(evaluate_and_train, jit_compile=jit_compile)
    layer.set_weights(initial)
    for outputs, expected_outputs in zip(compiled(tensors), expected, strict=True):
        assert reference.relative_error(outputs, expected_outputs) < 1e-5
    for state, expected_value in zip(layer.get_weights(), expected_state, strict=True):
        np.testing.assert_allclose(state, expected_value, rtol=1e-5, atol=1e-6)


def test_layer_is_built_by_its_first_call_inside_a_function(case_of_class):
    cls, arguments, tensors = case_of_class
    layer = cls(**arguments)
    outputs = tf.function(lambda given: call(layer, given))({name: tf.constant(x) for name, x in tensors.items()})
    assert layer.built
    assert np.isfinite(outputs).all()


def test_functional_model_accepts_any_batch_size(case):
    layer, tensors = built_layer(case), case[2]
    inputs = {name: keras.Input(value.shape[1:], dtype=str(value.dtype), name=name) for name, value in tensors.items()}
    outputs = layer(**inputs)
    assert outputs.shape[0] is None
    model = keras.Model(inputs, outputs)
    for batch in (1, BATCH):
        part = {name: value[: len(value) * batch // BATCH] for name, value in tensors.items()}
        expected = call(layer, part)
        assert outputs.shape[1:] == expected.shape[1:]
        assert reference.relative_error(model(part), expected) < 1e-6


@pytest.mark.parametrize("training", [False, True])
def test_gradient_reaches_every_trainable_weight_and_the_input(case, training):
    layer, tensors = built_layer(case), case[2]
    tensors = {name: tf.constant(value) for name, value in tensors.items()}
    sources = {weight.path: weight.value for weight in layer.trainable_weights}
    sources.update({name: tensors[name] for name in ("inputs", "class_weights") if name in tensors})
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        outputs = call(layer, tensors, training)
        loss = tf.reduce_sum(outputs * np.random.default_rng(3).normal(size=outputs.shape).astype(np.float32))
    gradients = tape.gradient(loss, sources)
    assert gradients
    for name, gradient in gradients.items():
        assert isinstance(gradient, tf.Tensor), name
        assert np.isfinite(gradient).all(), name
        # Batch statistics cancel some biases; moving averages do not.
        assert training or np.abs(gradient).max() > 1e-6, name


def test_calls_do_not_change_trainable_weights(case):
    layer, tensors = built_layer(case), case[2]
    before = [weight.numpy() for weight in layer.trainable_weights]
    call(layer, tensors, training=True)
    for weight, value in zip(layer.trainable_weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)


def test_mixed_bfloat16_stays_close_to_float32_and_keeps_float32_state(case):
    tensors = case[2]
    layer, mixed = built_layer(case), built_layer(case, dtype="mixed_bfloat16")
    for training in (False, True):
        expected = call(layer, tensors, training)
        outputs = call(mixed, tensors, training)
        assert outputs.dtype == tf.bfloat16
        assert reference.relative_error(tf.cast(outputs, tf.float32), expected) < 2e-2
    assert {str(weight.dtype) for weight in mixed.weights} <= {"float32"}
    for state, expected_value in zip(mixed.non_trainable_weights, layer.non_trainable_weights, strict=True):
        np.testing.assert_allclose(state, expected_value, rtol=2e-2, atol=1e-2, err_msg=state.path)
