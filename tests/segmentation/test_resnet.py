import float64_convolution
import keras
import numpy as np
import pytest
import tensorflow as tf
from published_arrays import load, relative_error, weight_by_recipe

from hamgan.segmentation import ResNet
from hamgan.segmentation.networks.resnet import Bottleneck
from hamgan.segmentation.published.names import name_forms
from hamgan.segmentation.published.weights import load_official_weights, official_weights

DEPTHS = (1, 1, 2, 4)
# (stride, dilations of the blocks) of each stage, as published; a fourth block repeats the last factor.
STAGES = {
    8: [(1, (1,)), (2, (1,)), (1, (1, 2)), (1, (2, 8, 16, 16))],
    16: [(1, (1,)), (2, (1,)), (2, (1, 1)), (1, (1, 4, 8, 8))],
}


def small(output_stride=8, **arguments):
    arguments = {"depths": DEPTHS, "base_channels": 2, "dtype": "float64", **arguments}
    return ResNet(output_stride=output_stride, **arguments)


def shallow(**arguments):
    return small(depths=(1, 1, 1, 1), **arguments)


def with_recipe(backbone):
    """The backbone with weights and statistics by the published recipe, and those weights by name."""
    tensors = {form.source: form.tensors for form in name_forms(backbone)}["HamNet"]
    weights = {name: weight_by_recipe(name, tensor.shape) for name, tensor in tensors.items()}
    load_official_weights(backbone, weights)
    return backbone, weights


def images(height=33, width=26):
    return np.random.default_rng(0).normal(size=(2, height, width, 3)).astype(np.float32)


def expected_stages(weights, x, stages):
    """The stages in evaluation, in float64 NumPy, from weights by their names in HamNet."""

    def conv(x, name, **arguments):
        return float64_convolution.convolution(x, weights[f"{name}.weight"].transpose(2, 3, 1, 0), **arguments)

    def norm(x, name):
        mean, variance = (weights[f"{name}.running_{kind}"].astype(np.float64) for kind in ("mean", "var"))
        return (x - mean) / np.sqrt(variance + 1e-5) * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def relu(x):
        return np.maximum(x, 0)

    for index, norm_name in ((0, "0.1"), (3, "0.4"), (6, "1")):
        x = relu(norm(conv(x, f"0.{index}", stride=2 if index == 0 else 1), norm_name))
    x = float64_convolution.max_pool(x)
    features = []
    for stage, (first_stride, dilations) in enumerate(stages, start=4):
        for index, dilation in enumerate(dilations):
            name, stride = f"{stage}.{index}", first_stride if index == 0 else 1
            hidden = relu(norm(conv(x, f"{name}.conv1"), f"{name}.bn1"))
            hidden = relu(norm(conv(hidden, f"{name}.conv2", stride=stride, dilation=dilation), f"{name}.bn2"))
            hidden = norm(conv(hidden, f"{name}.conv3"), f"{name}.bn3")
            if index == 0:
                x = norm(conv(x, f"{name}.downsample.0", stride=stride), f"{name}.downsample.1")
            x = relu(hidden + x)
        features.append(x)
    return features


@pytest.fixture(scope="module")
def small_and_weights():
    return with_recipe(small())


@pytest.mark.parametrize("output_stride", [8, pytest.param(16, marks=pytest.mark.slow)])
def test_stages_equal_the_definition(output_stride, small_and_weights):
    backbone, weights = small_and_weights if output_stride == 8 else with_recipe(small(output_stride))
    found = backbone(images())
    expected = expected_stages(weights, images().astype(np.float64), STAGES[output_stride])
    for own, reference in zip(found, expected, strict=True):
        assert relative_error(own, reference) < 1e-12
    assert [tuple(stage.shape) for stage in found] == backbone.compute_output_shape(images().shape)


@pytest.mark.slow
def test_stages_of_resnet50_match_the_published_code():
    golden = load("hamnet50_os8_v2")
    backbone = ResNet("resnet50")
    tensors = {form.source: form.tensors for form in name_forms(backbone)}["HamNet"]
    names = {name: f"backbone.{name}" for name in tensors}
    load_official_weights(backbone, {name: weight_by_recipe(names[name], t.shape) for name, t in tensors.items()})
    features = {"stem": backbone.stem_features(golden["image"])}
    features.update({f"layer{index}": each for index, each in enumerate(backbone(golden["image"]), start=1)})
    for name, found in features.items():
        assert relative_error(tf.reduce_mean(found, -1), golden[f"{name}_mean"]) < 1e-5
        assert relative_error(found[:1, ..., :8], golden[f"{name}_first8"]) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("output_stride", "size", "expected"),
    [(8, (513, 65), [(129, 17), (65, 9), (65, 9), (65, 9)]), (16, (97, 100), [(25, 25), (13, 13), (7, 7), (7, 7)])],
)
def test_strides(output_stride, size, expected):
    shapes = shallow(output_stride=output_stride).compute_output_shape((None, *size, 3))
    assert shapes == [(None, *each, 8 * 2**stage) for stage, each in enumerate(expected)]


@pytest.mark.slow
def test_stem_channels_and_multi_grid_can_be_set():
    """As in the ResNetV1c of HamNet on ADE20K."""
    backbone = ResNet(depths=(1, 1, 1, 3), base_channels=2, stem_channels=(2, 2, 4), multi_grid=(1, 1, 1))
    assert [conv.filters for conv, _ in backbone.stem] == [2, 2, 4]
    assert [block.dilation for block in backbone.stages[3]] == [2, 4, 4]


def test_training_moves_the_statistics_as_published(small_and_weights):
    """By 3e-4, with the unbiased variance of the batch."""
    backbone, weights = small_and_weights
    conv, norm = backbone.stem[0]
    before_mean, before_variance = norm.moving_mean.numpy(), norm.moving_variance.numpy()
    backbone(images(), training=True)
    x = conv(images()).numpy().reshape(-1, 2)
    np.testing.assert_allclose(norm.moving_mean - before_mean, 3e-4 * (x.mean(0) - before_mean), rtol=1e-9)
    expected = 3e-4 * (x.var(0, ddof=1) - before_variance)
    np.testing.assert_allclose(norm.moving_variance - before_variance, expected, rtol=1e-9)
    load_official_weights(backbone, weights)


@pytest.mark.slow
def test_replicas_share_the_batch_statistics(two_replicas):
    single, _ = with_recipe(shallow())
    expected = single(images(), training=True)[-1].numpy()
    with two_replicas.scope():
        spread, _ = with_recipe(shallow())
    halves = iter([images()[:1], images()[1:]])
    values = two_replicas.experimental_distribute_values_from_function(lambda _: tf.constant(next(halves)))
    run = tf.function(lambda x: two_replicas.run(lambda x: spread(x, training=True)[-1], (x,)))
    found = np.concatenate([part.numpy() for part in two_replicas.experimental_local_results(run(values))])
    assert relative_error(found, expected) < 1e-12
    for own, other in zip(single.get_weights(), spread.get_weights(), strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-12, atol=1e-15)


@pytest.mark.slow
def test_graph_and_xla_equal_eager_execution():
    backbone, _ = with_recipe(small())
    expected = backbone(images())[-1]
    for jit_compile in (False, True):
        compiled = tf.function(lambda x: backbone(x)[-1], jit_compile=jit_compile)
        assert relative_error(compiled(images()), expected) < 1e-12


@pytest.mark.slow
def test_mixed_precision_is_close():
    backbone, weights = with_recipe(shallow(dtype="mixed_bfloat16"))
    exact, _ = with_recipe(shallow())
    found = backbone(images())[-1]
    assert found.dtype == "bfloat16"
    assert relative_error(tf.cast(found, tf.float32), exact(images())[-1]) < 2e-2
    assert len(weights) == len(backbone.weights)


@pytest.mark.slow
def test_saved_models_and_checkpoints_keep_everything(tmp_path):
    backbone, _ = with_recipe(shallow(batch_norm_momentum=0.9))
    backbone.save(tmp_path / "backbone.keras")
    loaded = keras.models.load_model(tmp_path / "backbone.keras")
    assert loaded.get_config() == backbone.get_config()
    np.testing.assert_array_equal(loaded(images())[-1], backbone(images())[-1])
    path = tf.train.Checkpoint(model=backbone).save(str(tmp_path / "checkpoint"))
    other = shallow()
    tf.train.Checkpoint(model=other).restore(path)
    for name, value in official_weights(backbone).items():
        np.testing.assert_array_equal(official_weights(other)[name], value)


@pytest.mark.slow
def test_every_weight_has_a_gradient():
    backbone = small(depths=(1, 1, 1, 2))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(backbone(images(), training=True)[-1] ** 2)
    gradients = tape.gradient(loss, backbone.trainable_variables)
    assert all(gradient is not None and np.abs(gradient).max() > 0 for gradient in gradients)


def test_arguments_are_checked():
    with pytest.raises(ValueError, match=r"variant must be one of .*, received 'resnet18'"):
        ResNet("resnet18")
    with pytest.raises(ValueError, match=r"output_stride must be one of \(8, 16\), received 32"):
        ResNet(output_stride=32)
    with pytest.raises(ValueError, match="depths must be four positive numbers"):
        ResNet(depths=(1, 1, 1))
    with pytest.raises(ValueError, match="has_projection must be True"):
        Bottleneck(4).build((None, None, None, 8))
