import keras
import numpy as np
import pytest
import tensorflow as tf
from published_arrays import load, relative_error, with_prefix

from hamgan.config import SegmentationTrainConfig, override
from hamgan.config.segmentation_presets import scenes, segnext_tiny
from hamgan.layers import SegmentationHamburger, bilinear_resize
from hamgan.segmentation import HamNetHead, SegmentationNetwork
from hamgan.segmentation.networks.build import build_network
from hamgan.segmentation.published.names import head_tensors
from hamgan.segmentation.training.adamw import GroupedAdamW
from hamgan.segmentation.training.loss import pixel_losses
from hamgan.segmentation.training.parameter_groups import Group, parameter_groups
from hamgan.segmentation.training.schedule import Schedule
from hamgan.segmentation.training.state import create_optimizer


def _golden_network(golden):
    """The published head behind a backbone without weights."""
    version, sections = str(golden["version"]).lower().replace("+", "plus"), int(golden["S"])
    latent_dim = int(golden["D"]) if version == "v2plus" else int(golden["D"]) // sections
    momentum = 1 - float(golden["bn_momentum"])
    context = SegmentationHamburger(
        latent_dim,
        int(golden["R"]),
        version=version,
        num_sections=sections,
        num_steps=int(golden["train_steps"]),
        evaluation_steps=int(golden["eval_steps"]),
        cheese_factor=1 if version == "v2plus" else None,
        batch_norm_momentum=momentum,
        name="hamburger",
    )
    head = HamNetHead(
        int(golden["classes"]),
        context=context,
        channels=int(golden["channels"]),
        dropout_rate=0.0,
        batch_norm_momentum=momentum,
        name="head",
    )
    channels = golden["features"].shape[-1]
    features = keras.Input((None, None, channels))
    network = SegmentationNetwork(keras.Model(features, features), head, channels=channels)
    for name, tensor in head_tensors(head).items():
        tensor.variable.assign(tensor.to_ours(golden[f"w:{name}"]))
    return network


@pytest.mark.parametrize("name", ["head_v1", "head_v2plus"])
def test_four_steps_of_sgd_match_the_published_code(name):
    golden = load(name)
    network = _golden_network(golden)
    config = SegmentationTrainConfig(
        optimizer="sgd",
        learning_rate=float(golden["sgd_lr"]),
        momentum=float(golden["sgd_momentum"]),
        weight_decay=float(golden["sgd_weight_decay"]),
        steps=int(golden["sgd_iter_max"]),
        decay_every=int(golden["sgd_lr_decay"]),
    )
    optimizer = create_optimizer(network, config)
    size = tuple(golden["size"].tolist())
    variables = network.trainable_variables

    def step():
        with tf.GradientTape() as tape:
            coarse = network.head(tf.constant(golden["features"]), training=True, initial_bases=golden["bases0"])
            logits = bilinear_resize(coarse, size, align_corners=True)
            loss = tf.reduce_mean(pixel_losses(logits, golden["label"]))
        optimizer.apply(tape.gradient(loss, [each.value for each in variables]), variables)
        return loss

    losses = [float(step()) for _ in golden["sgd_losses"]]
    np.testing.assert_allclose(losses, golden["sgd_losses"], rtol=1e-5)
    rates = [float(Schedule(config)(index)) for index in range(len(losses))]
    np.testing.assert_allclose(rates, np.asarray(golden["sgd_lrs"]).reshape(len(losses), -1).min(axis=1), rtol=1e-6)

    after = with_prefix(golden, "step4:")
    tensors = head_tensors(network.head)
    for weight, expected in after.items():
        found = tensors[weight].to_official(tensors[weight].variable.numpy())
        start = golden[f"w:{weight}"]
        assert relative_error(found, expected) < 1e-6, weight
        change = np.linalg.norm(expected.astype(np.float64) - start)
        # A bias before a batch normalisation has no gradient, and moves by rounding alone.
        if change > 1e-6 * np.linalg.norm(start):
            assert relative_error(found - start, expected - start) < 2e-3, weight


def test_groups_of_sgd_are_the_published_ones():
    network = build_network(override(scenes(), ["train.optimizer=sgd", "model.head.version=v2plus"]))
    groups = parameter_groups(network, SegmentationTrainConfig())
    found = {}
    for variable, group in zip(network.trainable_variables, groups, strict=True):
        found.setdefault(variable.path.rsplit("/", 1)[-1], set()).add(group)
    assert found == {
        "kernel": {Group(1.0, 1e-4)},
        "bias": {Group(2.0, 0.0)},
        "gamma": {Group(1.0, 0.0)},
        "beta": {Group(2.0, 0.0)},
        "ham_scale": {Group(1.0, 0.0)},
        "shortcut_scale": {Group(1.0, 0.0)},
    }


def test_groups_of_adamw_follow_the_published_names():
    small = ["model.num_classes=5", "model.backbone.widths=4,8,12,16", "model.backbone.depths=1,1,1,1"]
    config = override(segnext_tiny(), [*small, "model.head.channels=32"])
    network = build_network(config)
    groups = dict(
        zip([each.path for each in network.trainable_variables], parameter_groups(network, config.train), strict=True)
    )
    for path, group in groups.items():
        assert group.factor == (10.0 if "/head/" in f"/{path}" or path.startswith("head/") else 1.0), path

    def decay_of(*parts):
        return {group.weight_decay for path, group in groups.items() if all(each in path for each in parts)}

    assert decay_of("stem1_norm") == decay_of("squeeze/norm") == decay_of("kernel") == decay_of("scale1") == {0.01}
    assert decay_of("down2_norm") == decay_of("norm1") == decay_of("stage1_norm") == {0.0}


def test_adamw_matches_numpy():
    rng = np.random.default_rng(0)
    starts = [rng.normal(size=(3, 2)), rng.normal(size=4)]
    variables = [keras.Variable(value, dtype="float64", name=f"v{index}") for index, value in enumerate(starts)]
    groups = [Group(1.0, 0.1), Group(10.0, 0.0)]
    optimizer = GroupedAdamW(0.01, groups, beta_1=0.8, beta_2=0.9, epsilon=1e-3)
    weights = [value.copy() for value in starts]
    means, squares = [[np.zeros_like(value) for value in starts] for _ in range(2)]
    for step in range(1, 4):
        gradients = [rng.normal(size=value.shape) for value in starts]
        optimizer.apply([tf.constant(each) for each in gradients], variables)
        for index, (gradient, group) in enumerate(zip(gradients, groups, strict=True)):
            rate = 0.01 * group.factor
            weights[index] *= 1 - rate * group.weight_decay
            means[index] = 0.8 * means[index] + 0.2 * gradient
            squares[index] = 0.9 * squares[index] + 0.1 * gradient**2
            deviation = np.sqrt(squares[index] / (1 - 0.9**step)) + 1e-3
            weights[index] -= rate * means[index] / (1 - 0.8**step) / deviation
    for variable, expected in zip(variables, weights, strict=True):
        np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-6)
