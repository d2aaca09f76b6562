import keras
import numpy as np
import pytest
import tensorflow as tf
from published_arrays import gradient_errors, load, relative_error, with_prefix

from hamgan.layers import bilinear_resize
from hamgan.segmentation import LightHamHead, SegmentationNetwork, SegNeXt
from hamgan.segmentation.networks.segnext import HEAD_CHANNELS, RANKS
from hamgan.segmentation.published.names import name_forms
from hamgan.segmentation.published.weights import load_official_weights

SMALL = {
    "num_classes": 6,
    "widths": (4, 8, 12, 16),
    "depths": (1, 1, 2, 1),
    "rank": 4,
    "ham_channels": 12,
    "head_channels": 8,
    "groups": 4,
    "drop_rate": 0.0,
    "dropout_rate": 0.0,
    "seed": 0,
}


@pytest.fixture(scope="module")
def golden():
    return load("segnext")


@pytest.fixture(scope="module")
def network(golden):
    network = SegNeXt("tiny", **SMALL)
    assert load_official_weights(network, with_prefix(golden, "w:")) == []
    return network


def test_logits_match_the_published_code(network, golden):
    logits = network.coarse_logits(golden["image"], initial_bases=golden["bases0"])
    assert relative_error(logits, golden["logits_eval"]) < 1e-5


def test_the_backbone_matches_the_published_code(network, golden):
    for index, stage in enumerate(network.backbone(golden["image"]), start=1):
        assert relative_error(stage, golden[f"stage{index}_eval"]) < 1e-5


@pytest.mark.slow
def test_outputs_have_the_size_of_the_images(network, golden):
    logits = network.coarse_logits(golden["image"], initial_bases=golden["bases0"])
    outputs = network(golden["image"], initial_bases=golden["bases0"])
    expected = bilinear_resize(logits, (72, 96), align_corners=False)
    np.testing.assert_allclose(outputs, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_gradients_match_the_published_code(golden):
    network = SegNeXt("tiny", **SMALL)
    load_official_weights(network, with_prefix(golden, "w:"))
    tensors = {
        name: tensor
        for name, tensor in name_forms(network)[0].tensors.items()
        if not name.endswith(("running_mean", "running_var"))
    }
    with tf.GradientTape() as tape:
        logits = network.coarse_logits(golden["image"], training=True, initial_bases=golden["bases0"])
    assert relative_error(logits, golden["logits_train"]) < 1e-5
    variables = {name: tensor.variable.value for name, tensor in tensors.items()}
    gradients = tape.gradient(logits, variables, golden["dy"])
    found = {name: tensors[name].to_official(gradient.numpy()) for name, gradient in gradients.items()}
    assert max(gradient_errors(found, with_prefix(golden, "g:")).values()) < 2e-4


@pytest.mark.slow
def test_evaluation_is_deterministic(network, golden):
    image = golden["image"][:1, :32, :40]
    np.testing.assert_array_equal(network(image), network(image))


@pytest.mark.slow
def test_config_round_trips(network):
    config = network.get_config()
    assert SegNeXt.from_config(config).get_config() == config
    assert {name: config[name] for name in SMALL} == SMALL


@pytest.mark.slow
def test_saved_networks_compute_the_same(network, golden, tmp_path):
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(loaded(golden["image"]), network(golden["image"]))


@pytest.mark.slow
def test_xla_and_functional_models_compute_the_same(network, golden):
    expected = network(golden["image"])
    compiled = tf.function(network, jit_compile=True)
    assert relative_error(compiled(golden["image"]), expected) < 1e-5
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, network(inputs))
    assert model.output_shape == (None, None, None, 6)
    assert relative_error(model(golden["image"]), expected) < 1e-5


@pytest.mark.slow
def test_mixed_precision_has_float32_logits(golden):
    network = SegNeXt("tiny", **SMALL, dtype="mixed_bfloat16")
    load_official_weights(network, with_prefix(golden, "w:"))
    outputs = network(golden["image"], initial_bases=golden["bases0"])
    assert outputs.dtype == "float32"
    expected = bilinear_resize(golden["logits_eval"], (72, 96), align_corners=False)
    assert relative_error(outputs, expected) < 5e-2
    assert network.compute_output_spec(keras.KerasTensor((None, 8, 8, 3))).dtype == "float32"


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_it_can_be_fitted(golden):
    network = SegNeXt("tiny", **{**SMALL, "drop_rate": 0.1, "dropout_rate": 0.1})
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.Adam(1e-2), loss, jit_compile=False)
    labels = np.arange(2 * 72 * 96).reshape(2, 72, 96) // 96 % 2
    losses = network.fit(golden["image"], labels, batch_size=2, epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


# About 4, 14, 28 and 49 million in the paper.
@pytest.mark.slow
@pytest.mark.parametrize(("variant", "millions"), [("tiny", 4.3), ("small", 13.9), ("base", 27.6), ("large", 48.9)])
def test_published_sizes(variant, millions):
    with keras.device("cpu"):
        network = SegNeXt(variant, num_classes=150)
    count = sum(int(np.prod(weight.shape)) for weight in network.trainable_variables)
    assert count / 1e6 == pytest.approx(millions, abs=0.1)
    assert network.head.hamburger.ham.rank == RANKS[variant]
    assert network.head.squeeze.filters == HEAD_CHANNELS[variant]
    assert network.compute_output_shape((None, 512, 512, 3)) == (None, 512, 512, 150)


def test_ranks_and_channels_of_the_published_variants():
    assert RANKS == {"tiny": 16, "small": 16, "base": 64, "large": 64}
    assert HEAD_CHANNELS == {"tiny": 256, "small": 256, "base": 512, "large": 1024}


def test_stages_and_variants_are_checked():
    with pytest.raises(ValueError, match=r"variant must be one of .*, received 'huge'"):
        SegNeXt("huge", num_classes=5)
    inputs = keras.Input((None, None, 3))
    backbone = keras.Model(inputs, [inputs, inputs])
    with pytest.raises(ValueError, match="stages must be in 1 to 2, or their negatives, at least one, received"):
        SegmentationNetwork(backbone, LightHamHead(5, channels=4, groups=4), stages=(1, 3))
