"""Conversion of published weights in files."""

import collections
import os
import pickle

import numpy as np
import pytest

from hamgan.cli.hamnet import main
from hamgan.errors import UserError
from hamgan.segmentation.published.convert import convert, read_published
from hamgan.segmentation.published.published_networks import NETWORKS, build_published
from hamgan.segmentation.published.weight_files import read_weights, write_weights
from hamgan.segmentation.published.weights import official_weights

BACKBONE = {"depths": [1, 1, 1, 1], "base_channels": 2}
SEGNEXT = {"depths": [1, 1, 1, 1], "widths": [2, 2, 2, 2], "head_channels": 4, "groups": 2}


@pytest.fixture(scope="module")
def resnet_arrays():
    """A checkpoint of ImageNet, with its classifier."""
    rng = np.random.default_rng(0)
    arrays = official_weights(build_published("resnet50", **BACKBONE))
    arrays = {
        name: rng.uniform(0.5, 1.5, array.shape).astype(array.dtype) if array.shape else np.array(3)
        for name, array in arrays.items()
    }
    return {**arrays, "fc.weight": np.zeros((10, 64), np.float32), "fc.bias": np.zeros(10, np.float32)}


def assert_equal_weights(found, expected, *, without=()):
    """Compares tensors, apart from counters of batches, which are not kept."""
    assert set(found) == {name for name in expected if name not in without}
    for name, array in found.items():
        if not name.endswith("num_batches_tracked"):
            assert array.dtype == np.float32
            np.testing.assert_array_equal(array, expected[name])


def test_a_backbone_goes_to_keras_and_back(resnet_arrays, tmp_path):
    source, model, back = (str(tmp_path / name) for name in ("resnet.npz", "resnet.keras", "back.npz"))
    np.savez(source, **resnet_arrays)
    conversion = convert(source, model, network="resnet50", arguments=BACKBONE)
    counters = [name for name in resnet_arrays if name.endswith("num_batches_tracked")]
    assert list(conversion.unused) == [*counters, "fc.weight", "fc.bias"]
    assert sorted([*conversion.taken, *conversion.unused]) == sorted(resnet_arrays)
    convert(model, back)
    assert_equal_weights(read_weights(back), resnet_arrays, without=("fc.weight", "fc.bias"))


@pytest.mark.slow
def test_names_of_another_code_base_can_be_written(resnet_arrays, tmp_path):
    source, renamed, back = (str(tmp_path / name) for name in ("resnet.npz", "renamed.npz", "back.npz"))
    np.savez(source, **resnet_arrays)
    convert(source, renamed, network="resnet50", arguments=BACKBONE, names="mmsegmentation")
    assert "stem.0.weight" in read_weights(renamed)
    convert(renamed, back, network="resnet50", arguments=BACKBONE)
    assert_equal_weights(read_weights(back), resnet_arrays, without=("fc.weight", "fc.bias"))


@pytest.mark.slow
def test_the_command_prints_what_became_of_each_tensor(tmp_path, capsys):
    network = build_published("segnext_tiny", num_classes=5, **SEGNEXT)
    source, output = str(tmp_path / "segnext.npz"), str(tmp_path / "segnext.keras")
    arrays = official_weights(network)
    np.savez(source, **arrays)
    settings = ["depths=[1,1,1,1]", "widths=[2,2,2,2]", "head_channels=4", "groups=2", "rank=3"]
    arguments = ["--source", source, "--network", "segnext_tiny", "--output", output]
    assert main(["convert", *arguments, "--override", *settings]) == 0
    counters = sum(name.endswith("num_batches_tracked") for name in arrays)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["Taken", str(len(arrays) - counters), "tensors"]
    assert lines[1].split(maxsplit=2) == ["Unused", str(counters), f"({counters} num_batches_tracked)"]
    assert main(["convert", "--source", output, "--output", str(tmp_path / "back.npz")]) == 0
    assert_equal_weights(read_weights(str(tmp_path / "back.npz")), arrays)


@pytest.mark.slow
def test_number_of_classes_is_that_of_the_checkpoint(tmp_path):
    arrays = official_weights(build_published("segnext_tiny", num_classes=5, **SEGNEXT))
    path = str(tmp_path / "segnext.npz")
    np.savez(path, **arrays)
    model = read_published(path, "segnext_tiny", arguments=SEGNEXT).model
    assert model.head.num_classes == 5
    np.testing.assert_array_equal(
        official_weights(model)["decode_head.conv_seg.weight"], arrays["decode_head.conv_seg.weight"]
    )
    with pytest.raises(UserError, match=r"expected shape \(4, 4, 1, 1\) of decode_head.conv_seg.weight"):
        read_published(path, "segnext_tiny", num_classes=4, arguments=SEGNEXT)


def test_every_published_network_has_a_name():
    assert set(NETWORKS) >= {
        *("hamnet_resnet101_v2", "hamnet_resnet101_v2plus", "hamnet_resnet50_v1", "resnet152", "segnext_large"),
        *("mscan_base", "hamnet_ade20k_resnet101", "hamnet_plus_ade20k_resnet50"),
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "count"), [("hamnet_resnet101_v2", 54_035_669), ("hamnet_resnet101_v2plus", 54_035_671)]
)
def test_released_models(name, count):
    network = build_published(name, num_classes=21)
    assert sum(int(np.prod(weight.shape)) for weight in network.trainable_variables) == count
    branch = network.head.context
    assert (branch.rank, branch.num_steps) == (512 if name.endswith("plus") else 64, 6)


def test_mistakes_are_one_line(resnet_arrays, tmp_path, capsys):
    source = str(tmp_path / "resnet.npz")
    np.savez(source, **resnet_arrays)
    np.savez(
        tmp_path / "less.npz", **{name: array for name, array in resnet_arrays.items() if name != "conv1.0.weight"}
    )
    (tmp_path / "broken.npz").write_bytes(b"PK\3\4broken")
    (tmp_path / "model.keras").write_bytes(b"broken")
    (tmp_path / "taken.keras").touch()
    out = str(tmp_path / "out.keras")
    settings = ["--override", "depths=[1,1,1,1]", "base_channels=2"]
    cases = [
        (
            ["--source", source, "--output", out],
            "expected the name of its network beside it, found none; pass --network",
        ),
        (["--source", source, "--output", out, "--network", "resnet5"], "found 'resnet5'; did you mean 'resnet5"),
        (
            ["--source", source, "--output", out, "--network", "resnet50", "--override", "dept=1"],
            "did you mean 'depths'?",
        ),
        (
            ["--source", source, "--output", out, "--network", "resnet50", "--override", "depths"],
            "expects SETTING=VALUE",
        ),
        (["--source", source, "--output", out, "--network", "hamnet_resnet50_v2"], "expected the number of classes"),
        (
            ["--source", str(tmp_path / "less.npz"), "--output", out, "--network", "resnet50", *settings],
            "found 1 missing (conv1.0.weight) and 0 others",
        ),
        (["--source", str(tmp_path / "no.npz"), "--output", out, "--network", "resnet50"], "cannot read"),
        (["--source", str(tmp_path / "broken.npz"), "--output", out, "--network", "resnet50"], "no complete .npz file"),
        (["--source", str(tmp_path / "model.keras"), "--output", str(tmp_path / "a.npz")], "expected a Keras file"),
        (
            ["--source", str(tmp_path / "x.txt"), "--output", out],
            "expected a run, or a file that ends in .pth",
        ),
        (
            ["--source", source, "--output", str(tmp_path / "taken.keras"), "--network", "resnet50"],
            "exists; choose another",
        ),
        (
            ["--source", source, "--output", str(tmp_path / "out.h5"), "--network", "resnet50"],
            "expected a name that ends in",
        ),
        (
            ["--source", source, "--output", out, "--network", "resnet50", "--names", "HamNet"],
            "--names expects an output",
        ),
        (
            [
                "--source",
                source,
                "--output",
                str(tmp_path / "o.npz"),
                "--network",
                "resnet50",
                *settings,
                "--names",
                "x",
            ],
            "names of this model are those of PyTorch-Encoding, mmsegmentation, HamNet, found 'x'",
        ),
    ]
    for arguments, message in cases:
        assert main(["convert", *arguments]) == 2, arguments
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("broken.npz", "less.npz", "model.keras", "resnet.npz", "taken.keras"),
    ]


class History:
    """A history of training, as mmengine's, of a class that torch does not know."""

    def __init__(self):
        self.values = np.arange(3.0)
        self.step = np.float64(7)


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="files of PyTorch need the extra [torch]")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("form", ["plain", "net", "state_dict"])
def test_files_of_pytorch(torch, resnet_arrays, tmp_path, form, legacy):
    tensors = collections.OrderedDict((name, torch.from_numpy(array)) for name, array in resnet_arrays.items())
    contents = {
        "plain": tensors,
        "net": {"net": tensors, "step": 60000, "best_mIoU": np.float64(0.8)},
        "state_dict": {
            "meta": {"history": History(), "time": "now"},
            "state_dict": tensors,
            "message_hub": {"x": History()},
        },
    }
    path = str(tmp_path / "weights.pth")
    torch.save(contents[form], path, _use_new_zipfile_serialization=not legacy)
    found = read_weights(path)
    assert list(found) == list(resnet_arrays)
    for name, array in found.items():
        assert array.dtype == resnet_arrays[name].dtype
        np.testing.assert_array_equal(array, resnet_arrays[name])


def test_files_for_pytorch(torch, resnet_arrays, tmp_path):
    for source, key in (("PyTorch-Encoding", None), ("HamNet", "net"), ("SegNeXt", "state_dict")):
        path = str(tmp_path / f"{source}.pth")
        write_weights(path, resnet_arrays, source=source)
        loaded = torch.load(path, weights_only=True)
        tensors = loaded if key is None else loaded[key]
        assert list(tensors) == list(resnet_arrays)
        np.testing.assert_array_equal(tensors["layer1.0.conv1.weight"].numpy(), resnet_arrays["layer1.0.conv1.weight"])


class Attack:
    """Runs code where a file is unpickled without care."""

    def __init__(self, function, argument):
        self.function = function
        self.argument = argument

    def __reduce__(self):
        return (self.function, (self.argument,))


@pytest.mark.parametrize("legacy", [False, True])
def test_code_in_a_file_is_not_executed(torch, resnet_arrays, tmp_path, legacy):
    tensors = {name: torch.from_numpy(array) for name, array in resnet_arrays.items()}
    path, trace = str(tmp_path / "attack.pth"), tmp_path / "trace"
    for attack in (Attack(os.system, f"touch {trace}"), Attack(exec, f"open({str(trace)!r}, 'w')")):
        contents = {"meta": attack, "state_dict": tensors}
        torch.save(contents, path, _use_new_zipfile_serialization=not legacy)
        with pytest.raises(UserError, match=r"it refers to (posix\.system|exec), which may run code"):
            read_weights(path)
        assert not trace.exists()


def test_damaged_files_of_pytorch(torch, tmp_path):
    path = tmp_path / "weights.pth"
    for content in (b"", b"damage", pickle.dumps([1, 2])):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"weights.pth: expected"):
            read_weights(str(path))
