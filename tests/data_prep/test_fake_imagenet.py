import io

import numpy as np
import pytest
from imagenet_helpers import all_files
from PIL import Image

from data_prep.fake_imagenet import LAYOUTS, main, painted_jpeg, write_fake_imagenet
from data_prep.ilsvrc import synsets
from hamgan.errors import UserError

OPTIONS = {"classes": synsets()[:2], "train_per_class": 2, "validation_per_class": 1, "flaws": True}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_same_seed_gives_the_same_bytes(tmp_path, layout):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_fake_imagenet(str(tmp_path / name), layout=layout, seed=seed, **OPTIONS)
    first, same, other = (all_files(tmp_path / name) for name in "abc")
    assert first == same
    assert first.keys() == other.keys()
    assert first != other


def test_images_vary_in_size():
    rng = np.random.default_rng(0)
    sizes = {Image.open(io.BytesIO(painted_jpeg(rng, 3))).size for _ in range(5)}
    assert len(sizes) == 5


def test_command_writes_the_requested_images(tmp_path):
    out = tmp_path / "fake"
    arguments = ["--out", str(out), "--layout", "folders", "--classes", "3", "--train_per_class", "2", "--no_flaws"]
    assert main(arguments) == 0
    names = sorted(all_files(out))
    assert len(names) == 3 * 2 + 3 * 5
    assert f"train/{synsets()[0]}/{synsets()[0]}_0.JPEG" in names


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--classes", "1001"], "expected 1 to 1,000, found 1001"),
        (["--validation_per_class", "51"], "found 20 and 51"),
        (["--layout", "zip"], "tars, folders, class_folders, found 'zip'"),
    ],
)
def test_invalid_options_are_one_line(tmp_path, capsys, arguments, message):
    assert main(["--out", str(tmp_path / "fake"), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "fake").exists()


def test_unwritable_folder_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("not a folder")
    assert main(["--out", str(tmp_path / "file" / "fake")]) == 2
    assert "Not a directory" in capsys.readouterr().err


def test_existing_folder_is_not_overwritten(tmp_path):
    with pytest.raises(UserError, match="exists already"):
        write_fake_imagenet(str(tmp_path), layout="tars", **OPTIONS)
