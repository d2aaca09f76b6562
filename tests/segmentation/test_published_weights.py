"""Names, layouts and numbers of the weights of published checkpoints."""

import numpy as np
import pytest
from published_arrays import load, state_dict_shapes, with_prefix

from hamgan.errors import UserError
from hamgan.segmentation import MSCAN, HamNet, LightHamHead, ResNet, SegmentationNetwork, SegNeXt
from hamgan.segmentation.published.names import name_forms
from hamgan.segmentation.published.weights import load_official_weights, official_weights

COUNTER = "num_batches_tracked"


def small_resnet():
    return ResNet(depths=(1, 1, 1, 2), base_channels=2)


@pytest.fixture(scope="module")
def segnext():
    arguments = {"widths": (2, 2, 2, 2), "depths": (1, 1, 1, 1), "ham_channels": 4, "head_channels": 4}
    return SegNeXt("tiny", num_classes=6, groups=2, **arguments)


@pytest.fixture(scope="module")
def resnet():
    return small_resnet()


def random_arrays(shapes):
    rng = np.random.default_rng(0)
    return {
        name: np.array(7) if name.endswith(COUNTER) else rng.uniform(0.5, 1.5, shape).astype(np.float32)
        for name, shape in shapes.items()
    }


def weights_without_a_name(model, form):
    named = {id(tensor.variable) for tensor in form.tensors.values()}
    return [weight.path for weight in model.weights if id(weight) not in named]


def assert_round_trip(model, arrays):
    unused = load_official_weights(model, arrays)
    assert unused == [name for name in arrays if name.endswith(COUNTER)]
    written = official_weights(model)
    assert set(written) == set(arrays)
    for name, array in arrays.items():
        if not name.endswith(COUNTER):
            assert written[name].dtype == array.dtype
            np.testing.assert_array_equal(written[name], array)
        else:
            assert (written[name].shape, written[name].dtype) == ((), np.int64)


@pytest.mark.slow
@pytest.mark.parametrize(("version", "count"), [("v2", 54_035_669), ("v2plus", 54_035_671)])
def test_hamnet101_has_the_published_weights(version, count):
    network = HamNet(
        "resnet101", version=version, num_classes=21, **({"cheese_factor": 1} if version == "v2plus" else {})
    )
    shapes = state_dict_shapes(f"hamnet101_{version}")
    assert len(shapes) == {"v2": 659, "v2plus": 661}[version]
    assert sum(int(np.prod(weight.shape)) for weight in network.trainable_variables) == count
    backbone = sum(int(np.prod(weight.shape)) for weight in network.backbone.trainable_variables)
    assert backbone == 42_623_936
    arrays = random_arrays(shapes)
    assert_round_trip(network, arrays)
    assert weights_without_a_name(network, name_forms(network)[0]) == ["hamnet/head/hamburger/spatial_ham/fixed_bases"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "version", "count"), [("resnet101", "v1", 53_773_525), ("resnet50", "v2", 35_043_541)]
)
def test_published_numbers_of_weights(backbone, version, count):
    network = HamNet(backbone, version=version, num_classes=21)
    assert sum(int(np.prod(weight.shape)) for weight in network.trainable_variables) == count


@pytest.mark.slow
def test_segnext_has_the_published_weights():
    arrays = with_prefix(load("segnext"), "w:")
    arguments = {"widths": (4, 8, 12, 16), "depths": (1, 1, 2, 1), "ham_channels": 12, "head_channels": 8}
    segnext = SegNeXt("tiny", num_classes=6, groups=4, **arguments)
    counters = {f"{name[:-11]}{COUNTER}": np.array(3) for name in arrays if name.endswith("running_var")}
    assert_round_trip(segnext, {**arrays, **counters})
    assert weights_without_a_name(segnext, name_forms(segnext)[0]) == ["segnext/head/hamburger/ham/fixed_bases"]


@pytest.mark.slow
def test_mmsegmentation_renames_the_depthwise_convolutions(segnext):
    arrays = official_weights(segnext)
    renamed = {name.replace("dwconv.dwconv", "dwconv"): array + 1 for name, array in arrays.items()}
    assert set(official_weights(segnext, source="mmsegmentation")) == set(renamed) != set(arrays)
    load_official_weights(segnext, renamed)
    for name, array in official_weights(segnext).items():
        if not name.endswith(COUNTER):
            np.testing.assert_array_equal(array, arrays[name] + 1)


@pytest.mark.parametrize(
    ("source", "stem", "first"),
    [
        ("PyTorch-Encoding", "conv1.6.weight", "layer1.0.conv1.weight"),
        ("mmsegmentation", "stem.6.weight", "layer1.0.conv1.weight"),
        ("HamNet", "0.6.weight", "4.0.conv1.weight"),
    ],
)
def test_backbones_are_found_under_the_names_of_each_code_base(resnet, source, stem, first):
    arrays = official_weights(resnet, source=source)
    assert arrays[stem].shape == (4, 2, 3, 3)
    assert arrays[first].shape == (2, 4, 1, 1)
    classifier = {"fc.weight": np.zeros((1000, 64), np.float32), "fc.bias": np.zeros(1000, np.float32)}
    before = [weight.numpy() for weight in resnet.weights]
    changed = {name: array + 1 if array.dtype == np.float32 else array for name, array in arrays.items()}
    unused = load_official_weights(resnet, {**changed, **classifier})
    assert [name for name in unused if not name.endswith(COUNTER)] == ["fc.weight", "fc.bias"]
    for weight, value in zip(resnet.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value + 1)
    assert weights_without_a_name(resnet, name_forms(resnet)[0]) == []


def test_convolutions_are_transposed(resnet):
    kernel = resnet.stages[1][0].conv2.kernel
    kernel.assign(np.random.default_rng(0).normal(size=kernel.shape))
    official = official_weights(resnet)["layer2.0.conv2.weight"]
    np.testing.assert_array_equal(official[3, 1, 0, 2], kernel.numpy()[0, 2, 1, 3])


@pytest.mark.slow
def test_depthwise_convolutions_are_transposed(segnext):
    kernel = segnext.backbone.stages[0][0].attention.strips[1][0].kernel
    official = official_weights(segnext)["backbone.block1.0.attn.spatial_gating_unit.conv1_1.weight"]
    assert (tuple(kernel.shape), official.shape) == ((1, 11, 2, 1), (2, 1, 1, 11))
    np.testing.assert_array_equal(official[1, 0, 0, 7], kernel.numpy()[0, 7, 1, 0])


@pytest.mark.slow
def test_kept_bases_of_a_checkpoint():
    """With the published option that keeps bases, checkpoints have them; here, they are running bases."""
    arguments = {"num_classes": 3, "head_channels": 8, "align_channels": 4, "rank": 3, "num_sections": 2, "ham": "cd"}
    network = HamNet(small_resnet(), bases="running", evaluation_bases="running", **arguments)
    arrays = official_weights(network)
    assert arrays["hamburger.ham.bases"].shape == (2, 4, 3)
    assert "hamburger.lower_bread.weight" in arrays
    with pytest.raises(UserError, match=r"0 missing and 1 others \(hamburger.ham.bases\)"):
        load_official_weights(HamNet(small_resnet(), **arguments), arrays)


def test_nothing_is_assigned_if_something_is_wrong(resnet):
    arrays = official_weights(resnet)
    before = [weight.numpy() for weight in resnet.weights]
    changed = {name: array + 1 for name, array in arrays.items()}

    def without(name):
        return {key: value for key, value in changed.items() if key != name}

    last = "layer4.1.conv3.weight"
    cases = [
        (
            without(last),
            r"expected the 110 weights of resnet by their names in PyTorch-Encoding, found 1 missing \(layer4",
        ),
        (
            {**changed, "layer5.weight": arrays[last]},
            r"0 missing and 1 others \(layer5.weight\); check the architecture",
        ),
        (
            {**changed, last: arrays[last][:1]},
            r"expected shape \(64, 16, 1, 1\) of layer4.1.conv3.weight, found \(1, 16",
        ),
        (
            {**changed, last: arrays[last].astype(int)},
            r"expected floating-point numbers in layer4.1.conv3.weight, found int64",
        ),
        ({}, r"found 110 missing \(conv1.0.weight, conv1.1.weight, conv1.1.bias, ...\)"),
    ]
    for wrong, message in cases:
        with pytest.raises(UserError, match=message):
            load_official_weights(resnet, wrong)
    for weight, value in zip(resnet.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


@pytest.mark.slow
def test_combinations_that_nobody_published():
    head = LightHamHead(3, channels=4, groups=4)
    network = SegmentationNetwork(small_resnet(), head, stages=(2, 3, 4))
    assert [form.source for form in name_forms(network)] == ["mmsegmentation"]
    with pytest.raises(ValueError, match="no published network combines MSCAN and HamNetHead"):
        name_forms(HamNet(MSCAN(widths=(1, 1, 1, 1), depths=(1, 1, 1, 1)), num_classes=3, head_channels=4, rank=2))
    with pytest.raises(ValueError, match="source must be one of"):
        official_weights(network, source="HamNet")
