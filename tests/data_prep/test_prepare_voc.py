"""Preparation of a synthetic PASCAL VOC 2012."""

import json
import shutil
import tarfile

import numpy as np
import pytest
import tensorflow_datasets as tfds
from imagenet_helpers import all_files
from PIL import Image

from data_prep.fake_voc import DEVKIT, SBD, sbd_file, write_fake_voc
from data_prep.masked_form import MaskedImages
from data_prep.prepare import Request, prepare
from data_prep.voc import VOC_CLASSES, Voc
from hamgan.cli.hamnet import main
from hamgan.errors import UserError

FORM = MaskedImages("voc2012", "PASCAL VOC 2012")
LISTS = f"{DEVKIT}/ImageSets/Segmentation"


@pytest.fixture(scope="module")
def fake(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fake") / "voc"
    write_fake_voc(str(folder))
    return folder


def _prepare(source, data_dir, sbd=None, **options):
    collection = Voc(str(source), None if sbd is None else str(sbd), partial=True)
    return prepare(Request(collection, str(data_dir), [FORM], workers=1, **options))


@pytest.fixture(scope="module")
def prepared(fake, tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("prepared")
    arguments = ["--source", str(fake / "VOCdevkit"), "--sbd", str(fake / "benchmark_RELEASE"), "--workers", "1"]
    assert main(["prepare", "voc", *arguments, "--partial", "--data_dir", str(data_dir)]) == 0
    return data_dir


def _names(fake, name):
    return {f"{line}.jpg" for line in (fake / LISTS / f"{name}.txt").read_text().split()}


def _examples(data_dir, split):
    dataset = tfds.load("voc2012", data_dir=str(data_dir), split=split)
    return {example["file_name"].decode(): example for example in dataset.as_numpy_iterator()}


def _record(data_dir):
    return json.loads((data_dir / "voc2012" / "1.0.0" / "preparation.json").read_text())


def _problems(data_dir):
    ignored = {"absent_class", "no_validation", "voc_total"}
    return {(each["kind"], each["where"]) for each in _record(data_dir)["problems"] if each["kind"] not in ignored}


def test_splits_are_those_of_the_lists_and_of_sbd(fake, prepared):
    train, validation = _names(fake, "train"), _names(fake, "val")
    splits = tfds.builder("voc2012", data_dir=str(prepared)).info.splits
    assert set(splits) == {"train", "validation", "trainval", "trainaug"}
    assert _examples(prepared, "train").keys() == train
    assert _examples(prepared, "validation").keys() == validation
    assert _examples(prepared, "trainval").keys() == train | validation
    sbd = {f"{path.stem}.jpg" for path in (fake / SBD / "cls").iterdir()}
    assert sbd > train | validation
    assert _examples(prepared, "trainaug").keys() == sbd - validation
    assert not _problems(prepared)


def test_records_hold_the_files_and_indices_of_the_palette(fake, prepared):
    features = tfds.builder("voc2012", data_dir=str(prepared)).info.features
    assert features["mask"].names == list(VOC_CLASSES)
    train = _names(fake, "train")
    for name, example in _examples(prepared, "trainaug").items():
        stem = name.removesuffix(".jpg")
        with Image.open(fake / DEVKIT / "JPEGImages" / name) as image:
            assert np.abs(np.asarray(image).astype(int) - example["image"]).max() <= 8  # of another JPEG decoder
        assert example["mask"].shape == (*example["image"].shape[:2], 1)
        assert example["mask"].dtype == np.uint8
        if name in train:
            with Image.open(fake / DEVKIT / "SegmentationClass" / f"{stem}.png") as mask:
                np.testing.assert_array_equal(example["mask"][..., 0], np.asarray(mask))
            assert (example["mask"] == 255).any()
        else:
            assert not (example["mask"] == 255).any()  # SBD has no borders
            assert len(np.unique(example["mask"])) > 1


def test_report_shows_classes_and_overlays(prepared):
    page = (prepared / "voc2012" / "1.0.0" / "preparation.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 6 + 4 + 8 + 8
    assert "<td>20</td><td>20</td><td>tvmonitor</td>" in page
    assert "<td>trainaug</td><td>14</td><td>10,582</td><td>14</td>" in page
    record = _record(prepared)
    shown = record["splits"]["trainaug"]["images_found_per_class"]
    expected = dict.fromkeys(VOC_CLASSES, 0)
    for example in _examples(prepared, "trainaug").values():
        for label in np.unique(example["mask"]):
            if label != 255:
                expected[VOC_CLASSES[label]] += 1
    assert shown == {name: count for name, count in expected.items() if count}
    assert record["splits"]["trainaug"]["images_found"] == 14


def test_tar_of_the_devkit_and_converted_labels_give_the_same_records(fake, prepared, tmp_path):
    converted = tmp_path / "SegmentationClassAug"
    converted.mkdir()
    for example in _examples(prepared, "trainaug").values():
        name = example["file_name"].decode().replace(".jpg", ".png")
        Image.fromarray(example["mask"][..., 0]).save(converted / name)
    with tarfile.open(tmp_path / "devkit.tar", "w") as tar:
        tar.add(fake / "VOCdevkit", "VOCdevkit")
    _prepare(tmp_path / "devkit.tar", tmp_path / "data", converted)
    expected, found = (all_files(each / "voc2012" / "1.0.0") for each in (prepared, tmp_path / "data"))
    assert found.keys() == expected.keys()
    assert all(found[name] == expected[name] for name in expected if ".tfrecord-" in name)


def test_broken_and_hostile_files_end_in_the_report(fake, tmp_path):
    source = tmp_path / "voc"
    shutil.copytree(fake, source)
    train, validation = ([*sorted(_names(source, name))] for name in ("train", "val"))
    images, masks = source / DEVKIT / "JPEGImages", source / DEVKIT / "SegmentationClass"
    pngs = [name.replace(".jpg", ".png") for name in train]
    (images / train[0]).write_bytes((images / train[0]).read_bytes()[:300])
    with Image.open(images / train[1]) as image:
        Image.new("P", (image.width, image.height + 1)).save(masks / pngs[1])
    with Image.open(masks / pngs[2]) as mask:
        mask.convert("RGB").save(masks / pngs[2])
    with Image.open(masks / pngs[3]) as mask:
        Image.fromarray(np.where(np.asarray(mask) == 0, 77, 0).astype(np.uint8)).save(masks / pngs[3])
    (masks / validation[0].replace(".jpg", ".png")).unlink()
    only_sbd = sorted({f"{path.stem}.jpg" for path in images.iterdir()} - {*train, *validation})
    mats = [source / SBD / "cls" / name.replace(".jpg", ".mat") for name in only_sbd]
    mats[0].write_bytes(mats[0].read_bytes()[:150])
    mats[1].write_bytes(b"\x80\x04cos\nsystem\n")
    with Image.open(images / only_sbd[2]) as image:
        mats[2].write_bytes(sbd_file(np.full((image.height, image.width), 21, np.uint8)))
    # The mask of SBD stands in for that of VOC.
    (masks / pngs[4]).unlink()
    with open(source / LISTS / "train.txt", "a") as lists:
        lists.write(f"../../../etc/passwd\n{train[5][:-4]}\n{validation[1][:-4]}\n\n")
    _prepare(source / "VOCdevkit", tmp_path / "data", source / "benchmark_RELEASE")
    assert _problems(tmp_path / "data") == {
        ("damaged", f"VOC2012/JPEGImages/{train[0]}"),
        ("mask_size", f"VOC2012/SegmentationClass/{pngs[1]}"),
        ("mask_format", f"VOC2012/SegmentationClass/{pngs[2]}"),
        ("mask_values", f"VOC2012/SegmentationClass/{pngs[3]}"),
        ("damaged", f"dataset/cls/{mats[0].name}"),
        ("damaged", f"dataset/cls/{mats[1].name}"),
        ("mask_values", f"dataset/cls/{mats[2].name}"),
        ("listed_without_file", "../../../etc/passwd"),
        ("repeated_name", train[5][:-4]),
        ("validation_in_train", validation[1][:-4]),
    }
    assert _examples(tmp_path / "data", "train").keys() == {*train[4:]}
    # Of a validation image whose mask is missing, SBD has one.
    assert _examples(tmp_path / "data", "validation").keys() == {*validation}
    assert not _examples(tmp_path / "data", "trainaug").keys() & {*validation, *only_sbd[:3]}


def test_other_numbers_of_images_are_refused(fake, tmp_path, capsys):
    arguments = ["--source", str(fake / "VOCdevkit"), "--data_dir", str(tmp_path), "--workers", "1"]
    assert main(["prepare", "voc", *arguments]) == 2
    expected = (
        f"split train of PASCAL VOC 2012: expected 1,464 images, found 6 in {fake}/VOCdevkit; copy them again, or"
    )
    assert expected in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("source", "sbd", "message"),
    [
        ("benchmark_RELEASE", None, "no ImageSets/Segmentation/val.txt in .*: expected the devkit of PASCAL VOC 2012"),
        ("VOCdevkit", "VOCdevkit", "no labels of SBD in .*: expected dataset/cls/"),
        ("elsewhere", None, "elsewhere: no such file or folder"),
    ],
)
def test_wrong_sources_are_refused(fake, tmp_path, source, sbd, message):
    with pytest.raises(UserError, match=message):
        _prepare(fake / source, tmp_path, None if sbd is None else fake / sbd)


def test_strict_refuses_before_writing(fake, tmp_path):
    with pytest.raises(UserError, match="--strict: problems were found"):
        _prepare(fake / "VOCdevkit", tmp_path, strict=True)
    assert not list(tmp_path.rglob("*.tfrecord*"))
