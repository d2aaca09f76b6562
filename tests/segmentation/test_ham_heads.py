import keras
import numpy as np
import pytest
import tensorflow as tf
from published_arrays import gradient_errors, load, relative_error, with_prefix

from hamgan import random_streams
from hamgan.segmentation import HamHead, LightHamHead
from hamgan.segmentation.networks.dropout import Noise
from hamgan.segmentation.networks.light_hamburger import LightHamburger
from hamgan.segmentation.published.names import head_tensors

NAMES = {"lighthead": LightHamHead, "hamhead_concat": HamHead}


def golden_head(golden, name, **arguments):
    settings = {"concat": True} if name == "hamhead_concat" else {}
    head = NAMES[name](
        int(golden["classes"]),
        rank=int(golden["R"]),
        channels=int(golden["channels"]),
        ham_channels=int(golden["ham_channels"]),
        groups=int(golden["groups"]),
        **settings,
        **{"dropout_rate": 0.0, **arguments},
    )
    head.build([each.shape for each in features(golden)])
    tensors = head_tensors(head)
    weights = with_prefix(golden, "w:")
    assert set(tensors) == set(weights)
    for tensor_name, tensor in tensors.items():
        tensor.variable.assign(tensor.to_ours(weights[tensor_name]))
    return head, tensors


def features(golden):
    """The stages that the head uses; the first one of LightHamHead's four is not."""
    stages = [golden[f"x_{index}"] for index in range(4) if f"x_{index}" in golden]
    return stages[1:] if len(stages) == 4 else stages


@pytest.fixture(scope="module")
def golden():
    return load("lighthead")


@pytest.fixture(scope="module")
def light_head(golden):
    return golden_head(golden, "lighthead")[0]


@pytest.mark.parametrize("name", NAMES)
def test_heads_match_the_published_code(name):
    golden = load(name)
    head, tensors = golden_head(golden, name)
    inputs = [tf.constant(each) for each in features(golden)]
    assert relative_error(head(inputs, initial_bases=golden["bases0"]), golden["logits_eval"]) < 1e-5
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        logits = head(inputs, training=True, initial_bases=golden["bases0"])
    assert relative_error(logits, golden["logits_train"]) < 1e-5
    variables = {key: tensor.variable.value for key, tensor in tensors.items()}
    to_inputs, to_weights = tape.gradient(logits, [inputs, variables], golden["dy"])
    found = {key: tensors[key].to_official(np.asarray(value)) for key, value in to_weights.items()}
    assert max(gradient_errors(found, with_prefix(golden, "g:")).values()) < 1e-4
    expected = [golden[key] for key in sorted(golden) if key.startswith("dx_")]
    for gradient, reference in zip(to_inputs, expected, strict=True):
        assert relative_error(gradient, reference) < 1e-4


@pytest.mark.slow
def test_the_steps_differ_between_training_and_evaluation(golden):
    head, _ = golden_head(golden, "lighthead", evaluation_steps=None)
    evaluated = head(features(golden), initial_bases=golden["bases0"])
    np.testing.assert_array_equal(evaluated, head(features(golden), training=True, initial_bases=golden["bases0"]))
    assert relative_error(evaluated, golden["logits_eval"]) > 1e-4


@pytest.mark.slow
def test_the_published_gradient_is_not_the_one_step_gradient(golden):
    head, tensors = golden_head(golden, "lighthead", gradient="one_step")
    kernel = tensors["hamburger.ham_in.conv.weight"]
    with tf.GradientTape() as tape:
        logits = head(features(golden), training=True, initial_bases=golden["bases0"])
    gradient = kernel.to_official(tape.gradient(logits, kernel.variable.value, golden["dy"]).numpy())
    assert relative_error(gradient, golden["g:hamburger.ham_in.conv.weight"]) > 0.1


def test_evaluation_is_deterministic_and_training_is_not(golden, light_head):
    inputs = features(golden)
    np.testing.assert_array_equal(light_head(inputs), light_head(inputs))
    assert (light_head(inputs, training=True).numpy() != light_head(inputs, training=True).numpy()).any()


@pytest.mark.slow
def test_random_bases_in_evaluation_are_drawn_at_each_call(golden):
    head, _ = golden_head(golden, "lighthead", evaluation_bases="random")
    assert (head(features(golden)).numpy() != head(features(golden)).numpy()).any()


def test_drawn_bases_depend_on_the_image_only(golden, light_head):
    key = random_streams.fold(3)
    bases = light_head.draw_initial_bases(key, first=0, count=4).numpy()
    assert bases.shape == (4, 8, 3)
    assert (bases >= 0).all()
    np.testing.assert_array_equal(light_head.draw_initial_bases(key, first=2, count=2), bases[2:])
    # The scale of the bases has no effect, because they are normalised.
    logits = [light_head(features(golden), initial_bases=factor * bases[:2]) for factor in (1.0, 3.0)]
    assert relative_error(*logits) < 1e-5


@pytest.mark.slow
def test_dropout_precedes_the_classifier(golden):
    head, _ = golden_head(golden, "lighthead", dropout_rate=0.5)
    arguments = {"training": True, "initial_bases": golden["bases0"]}
    first, again, other = (
        head(features(golden), noise=Noise(random_streams.fold(seed)), **arguments) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first.numpy() != other.numpy()).any()
    assert relative_error(head(features(golden), initial_bases=golden["bases0"]), golden["logits_eval"]) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_heads_work_in_functional_models_that_can_be_saved(name, tmp_path):
    golden = load(name)
    head, _ = golden_head(golden, name, seed=1)
    inputs = [keras.Input((None, None, each.shape[-1])) for each in features(golden)]
    model = keras.Model(inputs, head(inputs))
    assert model.output_shape == (None, None, None, 5)
    model.save(tmp_path / "head.keras")
    loaded = keras.models.load_model(tmp_path / "head.keras")
    np.testing.assert_array_equal(loaded(features(golden)), head(features(golden)))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_xla_computes_the_same(name):
    golden = load(name)
    head, _ = golden_head(golden, name)
    compiled = tf.function(lambda *each: head(list(each), initial_bases=golden["bases0"]), jit_compile=True)
    assert relative_error(compiled(*features(golden)), golden["logits_eval"]) < 1e-5


@pytest.mark.slow
def test_mixed_precision_is_close(golden):
    head, _ = golden_head(golden, "lighthead", dtype="mixed_bfloat16")
    logits = head(features(golden), initial_bases=golden["bases0"])
    assert logits.dtype == "bfloat16"
    assert relative_error(tf.cast(logits, tf.float32), golden["logits_eval"]) < 5e-2


def test_start_values():
    head = LightHamHead(50, channels=64, rank=2, groups=4)
    head.build([(None, None, None, 100)])
    assert np.std(head.classifier.kernel.numpy()) == pytest.approx(0.01, rel=0.05)
    assert np.std(head.squeeze.conv.kernel.numpy()) == pytest.approx((2 / 64) ** 0.5, rel=0.05)
    assert not head.hamburger.lower_bread.bias.numpy().any()
    assert head.hamburger.upper_bread.bias is None


def test_arguments_and_inputs_are_checked():
    with pytest.raises(ValueError, match="groups must divide the 48 channels, received 32"):
        LightHamHead(5, channels=48)
    with pytest.raises(ValueError, match="num_classes must be positive"):
        HamHead(0)
    with pytest.raises(ValueError, match="expects the features of one stage, received 2"):
        HamHead(5).build([(None, 4, 4, 8)] * 2)
    with pytest.raises(ValueError, match="expects a multiple of 4 groups as channels, received 6"):
        LightHamburger(groups=4).build((None, 4, 4, 6))
