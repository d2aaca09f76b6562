"""Preparation of a user's own images and masks."""

import io
import json
import zipfile

import numpy as np
import pytest
import tensorflow_datasets as tfds
from imagenet_helpers import all_files, write_files
from PIL import ExifTags, Image

from data_prep.mask_folder import MaskFolder
from data_prep.masked_form import MaskedImages
from data_prep.prepare import Request, prepare
from hamgan.cli.hamnet import main
from hamgan.errors import UserError

CLASSES = "void?\nroad\nGänse, wild\n"
COUNT = 12


def _png(pixels, **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, options.pop("format", "PNG"), **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def files():
    """Twelve images of random sizes, JPEG and PNG, with masks of the values 1 to 3, and 0 to ignore."""
    rng = np.random.default_rng(0)
    found = {"classes.txt": CLASSES.encode()}
    for index in range(COUNT):
        shape = tuple(rng.integers(20, 40, 2))
        image = np.full((*shape, 3), 20 * index, np.uint8)
        found[f"images/{index}.{'jpg' if index % 2 else 'png'}"] = _png(image, format="JPEG" if index % 2 else "PNG")
        found[f"masks/{index}.png"] = _png(rng.integers(0, 4, shape).astype(np.uint8))
    return found


def _prepare(source, data_dir, *, ignored=(0,), **options):
    collection = MaskFolder(str(source), "streets", ignored, **options)
    return prepare(Request(collection, str(data_dir), [MaskedImages("streets", "Streets")], workers=1))


def _examples(data_dir, split="train"):
    dataset = tfds.load("streets", data_dir=str(data_dir), split=split)
    return {example["file_name"].decode(): example for example in dataset.as_numpy_iterator()}


def _problems(data_dir):
    record = json.loads((data_dir / "streets" / "1.0.0" / "preparation.json").read_text())
    return {(problem["kind"], problem["where"]) for problem in record["problems"]}


@pytest.fixture(scope="module")
def prepared(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("streets")
    source = write_files(folder / "source", files)
    arguments = ["--source", str(source), "--data_dir", str(folder / "data"), "--workers", "1"]
    assert main(["prepare", "folder", *arguments, "--name", "streets", "--ignore", "0", "--validation_split", "3"]) == 0
    return folder / "data"


def test_values_become_labels_in_the_order_of_the_classes(files, prepared):
    splits = {split: _examples(prepared, split) for split in ("train", "validation")}
    assert [len(examples) for examples in splits.values()] == [9, 3]
    everything = splits["train"] | splits["validation"]
    assert everything.keys() == {name for name in files if name.startswith("images/")}
    for name, example in everything.items():
        with Image.open(io.BytesIO(files[f"masks/{name[7:-4]}.png"])) as mask:
            pixels = np.asarray(mask)
        expected = np.where(pixels == 0, 255, pixels - 1)
        np.testing.assert_array_equal(example["mask"][..., 0], expected)
        assert np.abs(example["image"].astype(int) - 20 * int(name[7:-4])).max() <= 2
    names = tfds.builder("streets", data_dir=str(prepared)).info.features["mask"].names
    assert names == ["void?", "road", "Gänse, wild"]
    assert not _problems(prepared)
    page = (prepared / "streets" / "1.0.0" / "preparation.html").read_text()
    assert "<td>0</td><td>1</td><td>void?</td><td>9</td><td>3</td>" in page
    assert "<td>255</td><td>0</td><td>(to ignore)</td>" in page
    assert page.count("data:image/jpeg;base64,") == 8 + 3


def test_zip_gives_the_same_records(files, prepared, tmp_path):
    with zipfile.ZipFile(tmp_path / "streets.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    _prepare(tmp_path / "streets.zip", tmp_path / "data", validation_split="3")
    expected, found = (all_files(each / "streets" / "1.0.0") for each in (prepared, tmp_path / "data"))
    assert found.keys() == expected.keys()
    assert all(found[name] == expected[name] for name in expected if ".tfrecord-" in name)


@pytest.mark.parametrize("layout", ["{split}/{kind}/{name}", "streets/{kind}/{split}/{name}"])
def test_splits_of_the_source_are_used(files, tmp_path, layout):
    moved = {"streets/classes.txt": files["classes.txt"]}
    for name, data in files.items():
        kind, _, base = name.partition("/")
        index = base.partition(".")[0]
        if index in ("0", "1", "2", "3"):
            split = {"0": "training", "3": "testing"}.get(index, "val" if index == "2" else "training")
            moved[layout.format(split=split, kind=kind, name=base)] = data
    source = write_files(tmp_path / "source", moved)
    _prepare(source, tmp_path / "data")
    image = layout.format(split="{}", kind="images", name="{}")
    assert _examples(tmp_path / "data").keys() == {image.format("training", name) for name in ("0.png", "1.jpg")}
    assert _examples(tmp_path / "data", "validation").keys() == {image.format("val", "2.png")}
    assert ("unused_split", image.format("testing", "3.jpg")) in _problems(tmp_path / "data")
    with pytest.raises(UserError, match=r"--validation_split: .* has splits already; omit this option"):
        _prepare(source, tmp_path / "other", validation_split="10%")


def test_what_cannot_be_used_is_reported(files, tmp_path):
    with Image.open(io.BytesIO(files["images/1.jpg"])) as image:
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = 6
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", exif=exif)
        upright = np.zeros((image.width, image.height), np.uint8)
    odd = files | {
        "images/1.jpg": buffer.getvalue(),
        "masks/1.png": _png(upright + 1),
        "images/3.jpg": files["images/3.jpg"][:200],
        "masks/4.png": files["masks/5.png"],
        "masks/5.png": files["images/5.jpg"],
        "masks/6.png": _png(np.full((3, 3), 9, np.uint8)),
        "images/6.png": _png(np.zeros((3, 3, 3), np.uint8)),
        "masks/7.png": b"",
        "images/8.JPG": files["images/9.jpg"],
        "images/lonely.png": files["images/0.png"],
        "masks/lonely_too.png": files["masks/0.png"],
        "images/notes.txt": b"x",
        "readme.txt": b"x",
        "images/ignored.png": _png(np.zeros((3, 3, 3), np.uint8) + 7),
        "masks/ignored.png": _png(np.zeros((3, 3), np.uint8)),
        "images/copy.png": files["images/0.png"],
        "masks/copy.png": files["masks/0.png"],
    }
    source = write_files(tmp_path / "source", odd)
    _prepare(source, tmp_path / "data", validation_split="0")
    assert _problems(tmp_path / "data") == {
        ("damaged", "images/3.jpg"),
        ("mask_size", "masks/4.png"),
        ("mask_format", "masks/5.png"),
        ("mask_values", "masks/6.png"),
        ("damaged", "masks/7.png"),
        ("duplicate_name", "images/8.png"),
        ("without_mask", "images/lonely.png"),
        ("without_image", "masks/lonely_too.png"),
        ("not_a_picture", "images/notes.txt"),
        ("outside_folders", "readme.txt"),
        ("only_ignored", "masks/ignored.png"),
        ("same_content", "images/0.png"),
        ("mask_size", "masks/8.png"),
    }
    examples = _examples(tmp_path / "data")
    kept = ("0.png", "1.jpg", "2.png", "9.jpg", "10.png", "11.jpg", "copy.png", "ignored.png")
    assert examples.keys() == {f"images/{name}" for name in kept}
    assert examples["images/1.jpg"]["image"].shape[:2] == upright.shape
    page = (tmp_path / "data" / "streets" / "1.0.0" / "preparation.html").read_text()
    assert "masks with values that are no class: 1, skipped, with their images" in page


def test_other_options_are_refused_for_a_prepared_data_set(prepared):
    source = prepared.parent / "source"
    assert _prepare(source, prepared, validation_split="3") == [str(prepared / "streets" / "1.0.0")]
    with pytest.raises(UserError, match=r"holds streets prepared from other files, or with another --ignore"):
        _prepare(source, prepared, validation_split="3", ignored=(0, 255))


BROKEN = {
    "no classes": ({"classes.txt": None}, "expected one file classes.txt with a class name on each line, found none"),
    "empty classes": ({"classes.txt": b"\n"}, "expected the names of 1 to 255 classes, found 0"),
    "many classes": ({"classes.txt": b"".join(b"%d\n" % index for index in range(256))}, "1 to 255 classes, found 256"),
    "gap": ({"classes.txt": b"a\n\nb\n"}, "line 2: expected the name of a class, but '' is empty"),
    "repeated": ({"classes.txt": b"a\nb\na\n"}, "expected different names, found 'a' 2 times"),
    "latin": ({"classes.txt": "Gänse".encode("latin1")}, "expected text in UTF-8"),
    "no masks": ({f"masks/{index}.png": None for index in range(COUNT)}, "found 12 images and 0 masks"),
    "one class": (
        {"classes.txt": b"a\n"},
        r"that cannot, such as masks/0.png \(mask_values: 2",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_unusable_sources_are_refused(files, tmp_path, case):
    changes, message = BROKEN[case]
    changed = {name: data for name, data in (files | changes).items() if data is not None}
    with pytest.raises(UserError, match=message):
        _prepare(write_files(tmp_path / "source", changed), tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_unusable_options_are_refused(tmp_path):
    with pytest.raises(UserError, match="--ignore: expected values from 0 to 65535, found -1"):
        MaskFolder(str(tmp_path), "streets", (-1,))
    with pytest.raises(UserError, match="'voc2012' is a data set of TFDS or HamGAN"):
        MaskFolder(str(tmp_path), "voc2012")
