import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import zipfile

import numpy as np
import pytest
import tensorflow_datasets as tfds
from imagenet_helpers import all_files, write_files
from PIL import Image

from data_prep.image_folder import ImageFolder, check_dataset_name
from data_prep.picture_form import get_picture_forms
from data_prep.prepare import Request, prepare
from hamgan.cli.main import main
from hamgan.config import DataConfig
from hamgan.data.dataset import ClassificationDataset
from hamgan.errors import UserError

COUNTS = {"Gänse, wild": 3, "red roses": 20, "tulips": 10}
SUFFIXES = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "bmp": "BMP"}


def _encoded(pixels, file_format="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, file_format)
    return buffer.getvalue()


def _pictures(rng, number, smallest=40):
    """Names and contents of pictures of several formats, each with the brightness of its number."""
    suffixes = list(SUFFIXES)
    for index in range(number):
        pixels = np.full((*rng.integers(smallest, 90, 2), 3), 8 * index % 256, np.uint8)
        pixels[:4, :4] = rng.integers(0, 256, 3)
        suffix = suffixes[index % len(suffixes)]
        yield f"{index}.{suffix}", _encoded(pixels, SUFFIXES[suffix])


@pytest.fixture(scope="module")
def files():
    """Names and contents of a small data set in class folders."""
    rng = np.random.default_rng(0)
    return {f"{folder}/{name}": data for folder, count in COUNTS.items() for name, data in _pictures(rng, count)}


@pytest.fixture(scope="module")
def source(files, tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("photographs"), files)


def _prepare(source, data_dir, *, resolutions=(32,), workers=1, name="flowers", **options):
    folder = ImageFolder(str(source), name, **options)
    return prepare(Request(folder, str(data_dir), get_picture_forms(name, resolutions), workers=workers))


@pytest.fixture(scope="module")
def prepared(source, tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("prepared")
    _prepare(source, data_dir, resolutions=(32, 64))
    return data_dir


def _examples(data_dir, split="train", name="flowers/32"):
    dataset = tfds.load(name, data_dir=str(data_dir), split=split)
    return {example["file_name"].decode(): example for example in dataset.as_numpy_iterator()}


def _record(data_dir, name="flowers/32"):
    return json.loads((data_dir / name / "1.0.0" / "preparation.json").read_text())


def _problems(data_dir):
    return {(problem["kind"], problem["where"]) for problem in _record(data_dir)["problems"]}


def _splits(data_dir):
    return {
        split: _examples(data_dir, split) for split in tfds.builder("flowers/32", data_dir=str(data_dir)).info.splits
    }


def test_every_picture_is_in_one_split_with_its_class(files, prepared):
    splits = _splits(prepared)
    names = tfds.builder("flowers/32", data_dir=str(prepared)).info.features["label"].names
    assert names == sorted(COUNTS)
    assert {split: len(examples) for split, examples in splits.items()} == {"train": 30, "validation": 3}
    assert sorted([*splits["train"], *splits["validation"]]) == sorted(files)
    for examples in splits.values():
        for name, example in examples.items():
            assert names[example["label"]] == name.split("/")[0]
            assert example["image"].shape == (32, 32, 3)
            assert example["image"].dtype == np.uint8
            number = int(name.split("/")[1].split(".")[0])
            assert np.abs(example["image"][16:, 16:].astype(int) - 8 * number).max() <= 8


@pytest.mark.slow
def test_tfds_reads_the_data_set_without_this_package(prepared, tmp_path):
    code = (
        "import sys, tensorflow_datasets as tfds\n"
        "data, info = tfds.load('flowers/64', data_dir=sys.argv[1], with_info=True, as_supervised=True)\n"
        "image, label = next(iter(data['train'].as_numpy_iterator()))\n"
        "assert image.shape == (64, 64, 3) and image.dtype == 'uint8'\n"
        "assert info.features['label'].names == ['Gänse, wild', 'red roses', 'tulips']\n"
        "assert 'data_prep' not in sys.modules and 'hamgan' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-I", "-c", code, str(prepared)], check=True, cwd=tmp_path)


def test_training_reads_the_data_set(prepared):
    dataset = ClassificationDataset(DataConfig("flowers/32", str(prepared)))
    assert dataset.class_names == sorted(COUNTS)
    images, labels = next(iter(dataset.training_batches(resolution=32, batch=8, seed=0).as_numpy_iterator()))
    assert images.shape == (8, 32, 32, 3)
    assert set(labels) <= {0, 1, 2}


def test_resolution_alone_gives_the_same_bytes_with_any_number_of_workers(source, prepared, tmp_path, monkeypatch):
    _prepare(source, tmp_path, workers=3)
    assert all_files(tmp_path / "flowers" / "32") == all_files(prepared / "flowers" / "32")


@pytest.mark.parametrize("kind", ["stored.zip", "deflated.zip", "x.tar", "wrapped"])
def test_archives_and_wrapping_folders_give_the_same_records(files, prepared, tmp_path, kind, caplog):
    path = tmp_path / kind
    wrapped = {f"photos/{name}": data for name, data in files.items()}
    if kind == "wrapped":
        write_files(path, wrapped)
    elif kind == "x.tar":
        with tarfile.open(path, "w") as tar:
            for name, data in reversed(files.items()):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    else:
        compression = zipfile.ZIP_STORED if kind == "stored.zip" else zipfile.ZIP_DEFLATED
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, data in wrapped.items():
                archive.writestr(name, data)
    _prepare(path, tmp_path / "data")
    expected = all_files(prepared / "flowers" / "32" / "1.0.0")
    found = all_files(tmp_path / "data" / "flowers" / "32" / "1.0.0")
    assert found.keys() == expected.keys()
    assert all(found[name] == expected[name] for name in expected if not name.startswith("preparation."))
    assert (("wrapping_folder", "photos") in _problems(tmp_path / "data")) == (kind != "x.tar")
    assert (f"are in {path}/photos: read from there" in caplog.text) == (kind != "x.tar")


def test_labels_and_splits_of_the_source_are_used(files, tmp_path):
    folders = {f"train/{name}": files[name] for name in list(files)[:6]} | {
        f"val/{name}": files[name] for name in list(files)[6:8]
    }
    folders["val/Gänse, wild/same.jpg"] = files["Gänse, wild/0.jpg"]
    folders["train/red roses/same.jpg"] = files["Gänse, wild/0.jpg"]
    source = write_files(tmp_path / "source", folders)
    _prepare(source, tmp_path / "data")
    splits = _splits(tmp_path / "data")
    assert sorted([*splits["train"], *splits["validation"]]) == sorted(folders)
    assert all(name.startswith("val/") for name in splits["validation"])
    assert {"same_content_other_split"} == {kind for kind, _ in _problems(tmp_path / "data")}
    with pytest.raises(UserError, match=r"--validation_split: .* has splits already \(folders train and val\); omit"):
        _prepare(source, tmp_path / "other", validation_split="10%")


def test_table_of_labels_decides(files, tmp_path):
    flat = {f"{index}.png": data for index, data in enumerate(files.values())}
    rows = "".join(
        f"{name},{'even, yes' if index % 2 else 'odd'}\n".replace("even, yes", '"even, yes"')
        for index, name in enumerate(flat)
    )
    source = write_files(tmp_path / "source", flat | {"labels.csv": f"file,label\n{rows}".encode()})
    _prepare(source, tmp_path / "data", validation_split="0")
    splits = _splits(tmp_path / "data")
    assert splits.keys() == {"train"}
    assert all(example["label"] == 1 - int(name[:-4]) % 2 for name, example in splits["train"].items())
    assert not _problems(tmp_path / "data")


def test_what_is_skipped_or_looks_wrong_is_reported(files, tmp_path):
    source = write_files(tmp_path / "source", {name: data for name, data in files.items() if name.startswith("tulips")})
    rng = np.random.default_rng(1)
    write_files(source / "roses", dict(_pictures(rng, 12, smallest=80)))
    picture = files["tulips/0.jpg"]
    odd = {
        "tulips/truncated.jpg": picture[: len(picture) * 2 // 3],
        "tulips/empty.png": b"",
        "tulips/notes.txt": b"hello",
        "tulips/phone.jpg": b"\0\0\0\x18ftypheic",
        "tulips/small.png": _encoded(np.zeros((9, 70, 3), np.uint8)),
        "tulips/copy.jpg": picture,
        "roses/tulip.jpg": picture,
        "roses/.DS_Store": b"",
        "roses/more/deep.png": _encoded(np.full((33, 33), 99, np.uint8)),
        "stray.png": files["tulips/1.png"],
        "one/single.png": files["red roses/1.png"],
    }
    write_files(source, odd)
    os.symlink("nowhere", source / "roses" / "broken.jpg")
    (source / "roses" / "huge.tif").touch()
    os.truncate(source / "roses" / "huge.tif", (64 << 20) + 1)
    _prepare(source, tmp_path / "data", resolutions=(32, 64), min_size=20)
    expected = {
        ("damaged", "tulips/truncated.jpg"),
        ("damaged", "tulips/empty.png"),
        ("not_a_picture", "tulips/notes.txt"),
        ("unsupported", "tulips/phone.jpg"),
        ("too_small", "tulips"),
        ("same_content_other_class", "roses/tulip.jpg"),
        ("system_file", "roses/.DS_Store"),
        ("unlabeled", "stray.png"),
        ("broken_link", "roses/broken.jpg"),
        ("too_large", "roses/huge.tif"),
        ("no_validation", "one"),
    }
    assert _problems(tmp_path / "data") == expected
    enlarged = {
        problem["where"]: problem["detail"]
        for problem in _record(tmp_path / "data", "flowers/64")["problems"]
        if problem["kind"] == "enlarged"
    }
    assert enlarged["roses"] == "1 of 12 pictures below 64 pixels, the smallest 33x33"
    train = _examples(tmp_path / "data")
    assert {"tulips/copy.jpg", "roses/tulip.jpg", "tulips/0.jpg", "one/single.png"} <= train.keys()
    everything = train | _examples(tmp_path / "data", "validation")
    assert "roses/more/deep.png" in everything
    assert not {"tulips/truncated.jpg", "tulips/small.png", "stray.png"} & everything.keys()
    page = (tmp_path / "data" / "flowers" / "32" / "1.0.0" / "preparation.html").read_text()
    assert "groups of files with the same content in several classes: 1, kept, in train" in page


def test_report_shows_classes_and_pictures(prepared):
    page = (prepared / "flowers" / "32" / "1.0.0" / "preparation.html").read_text()
    assert "<td>1</td><td>red roses</td><td>18</td><td>2</td>" in page
    assert page.count("data:image/jpeg;base64,") == 3
    assert "Gänse, wild" in page
    record = _record(prepared)
    assert record["complete"] is False or not record["problems"]
    assert record["splits"]["train"]["images_found_per_class"] == {"Gänse, wild": 3, "red roses": 18, "tulips": 9}


def test_prepared_data_set_is_recognized_and_another_plan_refused(source, prepared, caplog):
    before = {path: os.stat(path).st_mtime_ns for path in prepared.rglob("*") if path.is_file()}
    with caplog.at_level("INFO"):
        _prepare(source, prepared)
    assert "flowers/32/1.0.0 exists already" in caplog.text
    for options in ({"seed": 1}, {"crop": "pad"}):
        with pytest.raises(
            UserError, match="holds flowers prepared from other files, or with another --validation_split"
        ):
            _prepare(source, prepared, **options)
    assert before == {path: os.stat(path).st_mtime_ns for path in prepared.rglob("*") if path.is_file()}


def test_folder_beside_other_folders_of_pictures_is_prepared_with_a_warning(source, tmp_path, caplog):
    _prepare(source / "tulips", tmp_path, name="tulips")
    assert "tulips is prepared as one class, but the folders beside it hold pictures too" in caplog.text
    assert f"did you mean --source {source}?" in caplog.text
    kinds = {
        (problem["kind"], os.path.basename(problem["where"])) for problem in _record(tmp_path, "tulips/32")["problems"]
    }
    assert {("sibling_folders", "red roses"), ("sibling_folders", "Gänse, wild")} == kinds
    assert tfds.builder("tulips/32", data_dir=str(tmp_path)).info.features["label"].names == ["tulips"]


def test_command_reads_a_table_in_an_archive(files, tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for index in range(10):
            archive.writestr(f"photos/images/{index}.png", files[f"tulips/{index // 4 * 4 + 1}.png"])
        archive.writestr("photos/labels.csv", "".join(f"images/{index}.png,{'ab'[index // 4]}\n" for index in range(8)))
    arguments = ["--source", str(tmp_path / "photos.zip"), "--data_dir", str(tmp_path / "data"), "--workers", "1"]
    assert main(["prepare", "folder", *arguments, "--name", "letters", "--resolution", "32", "64"]) == 0
    for name in ("letters/32", "letters/64"):
        examples = _examples(tmp_path / "data", name=name)
        assert {name: int(example["label"]) for name, example in examples.items()} == {
            f"images/{index}.png": index // 4 for index in range(8)
        }
    kinds = {problem["kind"] for problem in _record(tmp_path / "data", "letters/32")["problems"]}
    assert kinds == {"wrapping_folder", "without_row", "same_content", "no_validation"}


def test_long_and_nested_names_are_stored(files, tmp_path):
    name = f"class/{'d' * 200}/{'ü' * 120}.png"
    source = write_files(tmp_path / "source", {name: files["tulips/1.png"], "other/1.png": files["tulips/5.png"]})
    _prepare(source, tmp_path / "data")
    assert set(_examples(tmp_path / "data")) == {name, "other/1.png"}


def test_pad_keeps_the_whole_picture(tmp_path):
    pixels = np.full((20, 60, 3), 200, np.uint8)
    _prepare(write_files(tmp_path / "source", {"a/1.png": _encoded(pixels)}), tmp_path / "data", crop="pad")
    ((_, example),) = _examples(tmp_path / "data").items()
    rows = example["image"].any(axis=(1, 2))
    assert rows.sum() == 11
    assert (example["image"][rows] == 200).all()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mnist", "'mnist' is a data set of TFDS or HamGAN; choose another name, such as 'my_mnist'"),
        ("digits", "'digits' is a data set of TFDS or HamGAN"),
        ("My Flowers", "such as 'my_flowers'; found 'My Flowers'"),
        ("7", "expected small letters, digits and _, a letter first, such as 'flowers'"),
        ("a/b", "such as 'a_b'"),
    ],
)
def test_unusable_names_are_refused(name, message):
    with pytest.raises(UserError, match=message):
        check_dataset_name(name)


def test_class_without_training_pictures_is_refused(files, tmp_path):
    small = _encoded(np.zeros((9, 9, 3), np.uint8))
    source = write_files(tmp_path / "source", {"train/a/1.png": files["tulips/1.png"], "train/b/1.png": small})
    write_files(source, {"val/b/2.png": files["tulips/5.png"]})
    with pytest.raises(UserError, match="--min_size 20 leaves no training picture of 'b'; pass a smaller --min_size"):
        _prepare(source, tmp_path / "data", min_size=20)


def test_source_without_pictures_is_refused(tmp_path):
    write_files(tmp_path / "source", {"a/notes.txt": b"x"})
    with pytest.raises(
        UserError, match=r"no pictures in .*source: expected JPEG, PNG.* found a/notes.txt, for example"
    ):
        _prepare(tmp_path / "source", tmp_path / "data")
    assert not (tmp_path / "data").exists()


@pytest.mark.slow
def test_killed_preparation_resumes_and_writes_the_same_bytes(tmp_path):
    rng = np.random.default_rng(2)
    files = {f"{name}/{picture}": data for name in "abc" for picture, data in _pictures(rng, 600)}
    source = write_files(tmp_path / "source", files)
    code = "import sys; from hamgan.cli.main import main; sys.exit(main(sys.argv[1:]))"

    def start(data_dir):
        arguments = ["prepare", "folder", "--source", str(source), "--name", "flowers", "--workers", "2"]
        arguments += ["--data_dir", str(data_dir), "--resolution", "32", "64"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.Popen([sys.executable, "-c", code, *arguments], env=environment, stderr=subprocess.PIPE)

    whole = start(tmp_path / "whole")
    assert whole.communicate() is not None
    assert whole.returncode == 0
    incomplete = tmp_path / "killed" / "flowers" / "64" / "1.0.0.incomplete"
    for delay in rng.uniform(0, 0.4, 3):
        killed = start(tmp_path / "killed")
        while not incomplete.exists() or not list(incomplete.glob("*.tmp")):
            assert killed.poll() is None
            time.sleep(0.01)
        time.sleep(delay)
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        assert not (tmp_path / "killed" / "flowers" / "64" / "1.0.0").exists()
    resumed = start(tmp_path / "killed")
    _, output = resumed.communicate()
    assert resumed.returncode == 0, output
    assert all_files(tmp_path / "killed") == all_files(tmp_path / "whole")
