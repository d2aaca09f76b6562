import keras
import numpy as np
import pytest
import tensorflow as tf
from published_arrays import load, probe, relative_error, weight_by_recipe

from hamgan import random_streams
from hamgan.layers import NonLocal, SegmentationHamburger, bilinear_resize
from hamgan.segmentation import HamNet, HamNetHead, ResNet, SegmentationNetwork
from hamgan.segmentation.networks.dropout import Noise
from hamgan.segmentation.published.names import name_forms
from hamgan.segmentation.published.weights import load_official_weights

SMALL = {"num_classes": 5, "head_channels": 8, "align_channels": 4, "rank": 3, "seed": 0}


def backbone(**arguments):
    return ResNet(depths=(1, 1, 1, 1), base_channels=2, **arguments)


def small(**arguments):
    return HamNet(backbone(), **{**SMALL, **arguments})


@pytest.fixture(scope="module")
def network():
    return small()


def images(height=33, width=26):
    return np.random.default_rng(0).normal(size=(2, height, width, 3)).astype(np.float32)


def loss_per_image(logits, labels):
    """Cross-entropy of all pixels, 0 where the label is 255."""
    known = labels != 255
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(np.where(known, labels, 0).astype(np.int32), logits)
    return tf.reduce_mean(tf.where(known, losses, tf.zeros_like(losses)), (1, 2))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_hamnet50_matches_the_published_code(dtype):
    golden = load("hamnet50_os8_v2")
    network = HamNet(
        "resnet50",
        version="v2",
        num_classes=int(golden["classes"]),
        head_channels=int(golden["channels"]),
        rank=int(golden["R"]),
        num_steps=int(golden["train_steps"]),
        evaluation_steps=int(golden["eval_steps"]),
        dropout_rate=0.0,
        dtype=dtype,
    )
    tensors = name_forms(network)[0].tensors
    load_official_weights(network, {name: weight_by_recipe(name, each.shape) for name, each in tensors.items()})
    image, bases = tf.constant(golden["image"], dtype), tf.constant(golden["bases0"], dtype)

    evaluate = tf.function(
        lambda: (network.coarse_logits(image, initial_bases=bases), network(image, initial_bases=bases))
    )
    coarse, full = evaluate()
    assert relative_error(coarse, golden["logits_low_eval"]) < 1e-5
    assert relative_error(full[:1], golden["logits_eval_image0"]) < 1e-5

    names = golden["grad_names"].tolist()
    variables = [tensors[name].variable for name in names]

    @tf.function
    def train():
        with tf.GradientTape() as tape:
            coarse = network.coarse_logits(image, training=True, initial_bases=bases)
            losses = loss_per_image(bilinear_resize(coarse, (65, 49), align_corners=True), golden["label"])
            loss = tf.reduce_mean(losses)
        return coarse, losses, tape.gradient(loss, variables)

    coarse, losses, gradients = train()
    assert relative_error(coarse, golden["logits_low_train"]) < 1e-3
    assert relative_error(losses, golden["loss_per_image_float64"]) < 1e-5
    tolerance = 1e-5 if dtype == "float64" else 5e-2
    largest = golden["grad_norm_float64"].max()
    assert set(names) == {name for name in tensors if not name.endswith(("running_mean", "running_var"))}
    for name, gradient, norm, dot in zip(
        names, gradients, golden["grad_norm_float64"], golden["grad_dot_float64"], strict=True
    ):
        found = tensors[name].to_official(gradient.numpy()).astype(np.float64)
        if norm > 1e-5 * largest:
            assert abs(np.linalg.norm(found) - norm) < tolerance * norm, name
            assert abs((found * probe(name, found.shape)).sum() - dot) < tolerance * norm, name


def test_outputs_align_the_corners_of_the_coarse_logits(network):
    x = images(33, 25)
    coarse, outputs = network.coarse_logits(x), network(x)
    np.testing.assert_array_equal(outputs, network(x))
    assert coarse.shape == (2, 5, 4, 5)
    assert outputs.shape == (2, 33, 25, 5)
    np.testing.assert_allclose(outputs[:, ::8, ::8], coarse, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_any_size_of_images(network):
    assert network(images(30, 19)).shape == (2, 30, 19, 5)
    assert network(images(1, 8)).shape == (2, 1, 8, 5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        {"version": "v1", "ham": "cd"},
        {"version": "v1", "num_sections": 2},
        {"ham": "vq", "form": "channel"},
        {"version": "v2plus", "form": "dual", "zero_ham": False},
        {"version": "v2plus", "num_sections": 2, "gradient": "unrolled"},
        {"bases": "running", "ham": "cd", "evaluation_bases": "running"},
        {"version": None},
    ],
)
def test_all_kinds_of_blocks_train_and_can_be_saved(arguments, tmp_path):
    network = small(**arguments)
    key = random_streams.fold(1)
    bases = network.draw_initial_bases(key, first=0, count=2, image_size=(33, 26))
    assert (bases is None) == (arguments.get("version", "v2") is None)
    with tf.GradientTape() as tape:
        outputs = network(images(), training=True, initial_bases=bases, noise=Noise(key))
        loss = tf.reduce_sum(outputs**2)
    gradients = tape.gradient(loss, network.trainable_variables)
    assert all(gradient is not None for gradient in gradients)
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(loaded(images()), network(images()))
    own, other = network.get_config(), loaded.get_config()
    assert {name: own[name] for name in own if name != "backbone"} == {
        name: other[name] for name in other if name != "backbone"
    }


def test_drawn_bases_depend_on_the_image_only(network):
    key = random_streams.fold(1)
    bases = network.draw_initial_bases(key, first=0, count=4)
    assert bases.shape == (4, 8, 3)
    np.testing.assert_array_equal(network.draw_initial_bases(key, first=2, count=2), bases[2:])


def test_bases_of_the_channel_form_have_a_row_for_each_position():
    hamburger = SegmentationHamburger(8, 3, version="v2plus", form="dual")
    head = HamNetHead(5, context=hamburger, channels=8, align_channels=4)
    with pytest.raises(ValueError, match="depend on the size of the features; pass size"):
        head.draw_initial_bases(random_streams.fold(1), first=0, count=2)
    spatial, channel = head.draw_initial_bases(random_streams.fold(1), first=0, count=2, size=(5, 4))
    assert (spatial.shape, channel.shape) == ((2, 8, 3), (2, 20, 3))


@pytest.mark.slow
def test_noise_determines_dropout(network):
    bases = network.draw_initial_bases(random_streams.fold(1), first=0, count=2)
    first, again, other = (
        network(images(), training=True, initial_bases=bases, noise=Noise(random_streams.fold(seed)))
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first.numpy() != other.numpy()).any()


def test_start_values(network):
    limit = 1 / (9 * 64) ** 0.5
    kernel = network.head.squeeze.conv.kernel.numpy()
    assert 0.9 * limit < np.abs(kernel).max() <= limit
    assert np.abs(network.head.classifier.bias.numpy()).max() <= 0.5
    assert network.head.classifier.bias.numpy().any()


@pytest.mark.slow
def test_any_context_module_can_replace_the_block(tmp_path):
    head = HamNetHead(5, context=NonLocal(name="context"), channels=8, align_channels=4, name="head")
    network = SegmentationNetwork(backbone(), head)
    assert network(images()).shape == (2, 33, 26, 5)
    with pytest.raises(ValueError, match="expects no initial_bases"):
        network(images(), initial_bases=tf.zeros((2, 8, 3)))
    network.save(tmp_path / "network.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "network.keras")(images()), network(images()))


@pytest.mark.slow
def test_any_keras_model_can_be_the_backbone(tmp_path):
    inputs = keras.Input((None, None, 3))
    features = keras.layers.Conv2D(6, 3, strides=4, padding="same")(inputs)
    network = HamNet(keras.Model(inputs, features), **SMALL)
    assert network(images(32, 24)).shape == (2, 32, 24, 5)
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(loaded(images(32, 24)), network(images(32, 24)))


@pytest.mark.slow
def test_xla_computes_the_same(network):
    compiled = tf.function(network, jit_compile=True)
    assert relative_error(compiled(images()), network(images())) < 1e-4


@pytest.mark.slow
def test_mixed_precision_has_float32_logits(network):
    half = HamNet(backbone(dtype="mixed_bfloat16"), **SMALL, dtype="mixed_bfloat16")
    half.set_weights(network.get_weights())
    outputs = half(images())
    assert outputs.dtype == "float32"
    assert relative_error(outputs, network(images())) < 5e-2
