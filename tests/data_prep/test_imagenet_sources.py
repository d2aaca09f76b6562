import io
import os
import tarfile

import numpy as np
import pytest
from imagenet_helpers import write_files

from data_prep.fake_imagenet import add_to_tar
from data_prep.ilsvrc import label_of_synset, label_of_validation_name, synsets, validation_labels
from data_prep.imagenet import PhotographConversion
from data_prep.imagenet_sources import find_containers, find_split, list_container, merge_listings
from data_prep.reading import read_images
from data_prep.shards import plan_shards
from hamgan.errors import UserError

FIRST, SECOND = synsets()[0], synsets()[7]


def _listing(path, split):
    containers, problems = find_containers(str(path), split)
    listing = merge_listings([list_container(container, split) for container in containers])
    return listing._replace(problems=problems + listing.problems)


def _images(listing):
    contents = read_images(listing.images, dict(enumerate(listing.containers)))
    return {image["name"]: (int(image["label"]), data) for image, data in zip(listing.images, contents, strict=True)}


def _kinds(listing):
    return sorted((problem.kind, os.path.basename(problem.where)) for problem in listing.problems)


def _tar(path, files):
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            add_to_tar(tar, name, data)
    return path


def _tar_bytes(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            add_to_tar(tar, name, data)
    return buffer.getvalue()


def test_lists_of_ilsvrc_are_complete():
    assert len(synsets()) == len(set(synsets())) == 1000
    assert len(validation_labels()) == 50_000
    assert np.all(np.bincount(validation_labels()) == 50)
    assert label_of_validation_name("ILSVRC2012_val_00000001.JPEG") == label_of_synset()["n01751748"]
    assert label_of_validation_name("ILSVRC2012_val_00050001.JPEG") is None
    assert label_of_validation_name("ILSVRC2012_val_00000000.JPEG") is None


@pytest.mark.parametrize("split", ["train", "validation"])
def test_every_layout_holds_the_same_images(fakes, split):
    by_layout = {
        layout: _images(_listing(find_split(str(fakes / layout), split), split))
        for layout in ("tars", "folders", "class_folders")
    }
    assert len(by_layout["tars"]) == (27 if split == "train" else 12)
    assert by_layout["folders"] == by_layout["tars"]
    assert by_layout["class_folders"] == by_layout["tars"]
    for name, (label, _) in by_layout["tars"].items():
        expected = label_of_synset()[name[:9].decode()] if split == "train" else label_of_validation_name(name.decode())
        assert label == expected


@pytest.mark.parametrize("prefix", ["", "./", "ILSVRC2012_img_train/"])
def test_nested_tars_and_folders_hold_the_same_images(tmp_path, prefix):
    files = {FIRST: {f"{FIRST}_1.JPEG": b"1"}, SECOND: {f"{SECOND}_2.JPEG": b"22", f"{SECOND}_3.JPEG": b"3"}}
    expected = {
        f"{FIRST}_1.JPEG".encode(): (0, b"1"),
        **{f"{SECOND}_{n}.JPEG".encode(): (7, d) for n, d in ((2, b"22"), (3, b"3"))},
    }
    inner = {
        f"{prefix}{synset}.tar": _tar_bytes({f"{prefix}{n}": d for n, d in images.items()})
        for synset, images in files.items()
    }
    flat = {f"{prefix}{synset}/{name}": data for synset, images in files.items() for name, data in images.items()}
    _tar(tmp_path / "tar_of_tars.tar", inner)
    _tar(tmp_path / "tar_of_folders.tar", flat)
    write_files(tmp_path / "folder_of_tars", {os.path.basename(name): data for name, data in inner.items()})
    for path in ("tar_of_tars.tar", "tar_of_folders.tar", "folder_of_tars"):
        listing = _listing(tmp_path / path, "train")
        assert _images(listing) == expected, path
        assert not listing.problems, path


def test_folder_of_the_kaggle_challenge_is_found(tmp_path):
    folder = tmp_path / "ILSVRC" / "Data" / "CLS-LOC"
    write_files(folder, {f"train/{FIRST}/{FIRST}_1.JPEG": b"1", "val/ILSVRC2012_val_00000001.JPEG": b"2"})
    assert find_split(str(tmp_path), "train") == str(folder / "train")
    assert find_split(str(tmp_path), "validation") == str(folder / "val")


def test_source_without_images_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no validation images in .*: expected ILSVRC2012_img_val.tar or val there"):
        find_split(str(tmp_path), "validation")
    with pytest.raises(UserError, match="no such file or folder"):
        find_containers(str(tmp_path / "train.tar"), "train")


def test_unexpected_training_files_are_reported(tmp_path):
    write_files(
        tmp_path,
        {
            f"{FIRST}/{FIRST}_1.JPEG": b"1",
            f"{FIRST}/{SECOND}_2.JPEG": b"2",
            f"{FIRST}/notes.txt": b"",
            f"{FIRST}/.DS_Store": b"",
            f"{FIRST}/deeper/{FIRST}_3.JPEG": b"",
            f"{FIRST}/{'x' * 70}.JPEG": b"",
            "n99999999/n99999999_1.JPEG": b"",
            "stray.JPEG": b"",
        },
    )
    listing = _listing(tmp_path, "train")
    assert {name: label for name, (label, _) in _images(listing).items()} == {
        f"{FIRST}_1.JPEG".encode(): 0,
        f"{SECOND}_2.JPEG".encode(): 0,
    }
    assert _kinds(listing) == [
        ("misplaced", f"{SECOND}_2.JPEG"),
        ("not_an_image", "deeper"),
        ("not_an_image", "notes.txt"),
        ("system_file", ".DS_Store"),
        ("unknown_synset", "n99999999"),
        ("unknown_synset", "stray.JPEG"),
        ("unreadable", f"{'x' * 70}.JPEG"),
    ]


def test_validation_label_is_from_the_number_and_checked_against_the_folder(tmp_path):
    right, wrong = synsets()[validation_labels()[0]], synsets()[validation_labels()[1] - 1]
    write_files(
        tmp_path,
        {
            f"{right}/ILSVRC2012_val_00000001.JPEG": b"1",
            f"{wrong}/ILSVRC2012_val_00000002.JPEG": b"2",
            f"{right}/renamed.jpg": b"3",
            "flat.jpg": b"4",
        },
    )
    listing = _listing(tmp_path, "validation")
    assert {name: label for name, (label, _) in _images(listing).items()} == {
        b"ILSVRC2012_val_00000001.JPEG": validation_labels()[0],
        b"ILSVRC2012_val_00000002.JPEG": validation_labels()[1],
        b"renamed.jpg": validation_labels()[0],
    }
    assert _kinds(listing) == [
        ("renamed", "flat.jpg"),
        ("renamed", "renamed.jpg"),
        ("validation_label", "ILSVRC2012_val_00000002.JPEG"),
    ]


def test_incomplete_validation_set_has_the_right_labels(tmp_path):
    """The stock TFDS builder would assign the n-th label to the n-th name in the tar."""
    path = _tar(tmp_path / "val.tar", {f"ILSVRC2012_val_{number:08d}.JPEG": b"x" for number in (3, 500, 50_000)})
    labels = sorted(label for label, _ in _images(_listing(path, "validation")).values())
    assert labels == sorted(validation_labels()[number - 1] for number in (3, 500, 50_000))


def test_remote_files_are_read_through_tensorflow(fakes):
    """A ``file://`` path is treated like ``gs://``."""
    for layout in ("tars", "class_folders"):
        for split in ("train", "validation"):
            local = find_split(str(fakes / layout), split)
            assert find_split(f"file://{fakes / layout}", split) == f"file://{local}"
            assert _images(_listing(f"file://{local}", split)) == _images(_listing(local, split))


def test_files_changed_or_deleted_after_listing_are_errors(tmp_path):
    folder = write_files(tmp_path, {f"{FIRST}/{FIRST}_{n}.JPEG": b"12345" for n in range(3)})
    listing = _listing(folder, "train")
    (folder / FIRST / f"{FIRST}_0.JPEG").unlink()
    (folder / FIRST / f"{FIRST}_1.JPEG").write_bytes(b"1")
    contents = list(read_images(listing.images, dict(enumerate(listing.containers))))
    assert isinstance(contents[0], FileNotFoundError)
    assert "expected 5 bytes, found 1" in str(contents[1])
    assert contents[2] == b"12345"


def test_oversized_file_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("data_prep.reading.MAX_IMAGE_BYTES", 3)
    listing = _listing(write_files(tmp_path, {f"{FIRST}/{FIRST}_0.JPEG": b"12345"}), "train")
    (content,) = read_images(listing.images, dict(enumerate(listing.containers)))
    assert "expected at most 3 bytes, found 5" in str(content)


@pytest.mark.parametrize("order", ["tars first", "images first", "between"])
def test_tar_may_hold_both_inner_tars_and_images(tmp_path, order):
    tars = {f"{FIRST}.tar": _tar_bytes({f"{FIRST}_1.JPEG": b"1", f"{FIRST}_2.JPEG": b"22"})}
    images = {f"{SECOND}/{SECOND}_3.JPEG": b"333"}
    unexpected = {"n99999999.tar": _tar_bytes({"x.JPEG": b"x"}), "notes.txt": b"notes"}
    more = {f"{SECOND}.tar": _tar_bytes({f"{SECOND}_4.JPEG": b"4"})}
    parts = {
        "tars first": [tars, unexpected, more, images],
        "images first": [images, unexpected, tars, more],
        "between": [tars, images, unexpected, more],
    }[order]
    path = _tar(tmp_path / "train.tar", {name: data for part in parts for name, data in part.items()})
    listing = _listing(path, "train")
    assert _images(listing) == {
        f"{FIRST}_1.JPEG".encode(): (0, b"1"),
        f"{FIRST}_2.JPEG".encode(): (0, b"22"),
        f"{SECOND}_3.JPEG".encode(): (7, b"333"),
        f"{SECOND}_4.JPEG".encode(): (7, b"4"),
    }
    assert _kinds(listing) == [("not_an_image", "n99999999.tar"), ("not_an_image", "notes.txt")]


def test_unexpected_files_beside_inner_tars_are_reported(tmp_path):
    files = {"README": b"?", f"{FIRST}.tar": _tar_bytes({f"{FIRST}_1.JPEG": b"1"}), ".DS_Store": b"", "n0.tar": b""}
    listing = _listing(_tar(tmp_path / "train.tar", files), "train")
    assert list(_images(listing)) == [f"{FIRST}_1.JPEG".encode()]
    assert _kinds(listing) == [
        ("not_an_image", "README"),
        ("system_file", ".DS_Store"),
        ("unknown_synset", "n0.tar"),
    ]


def test_damaged_inner_tar_beside_images_is_named(tmp_path):
    damaged = bytearray(_tar_bytes({f"{FIRST}_1.JPEG": b"1", f"{FIRST}_2.JPEG": b"2"}))
    damaged[1024] ^= 0x55
    path = _tar(tmp_path / "train.tar", {f"{SECOND}/{SECOND}_3.JPEG": b"3", f"{FIRST}.tar": bytes(damaged)})
    with pytest.raises(UserError, match=rf"tar .*/{FIRST}\.tar is damaged"):
        _listing(path, "train")


@pytest.mark.parametrize("as_tar", [False, True])
def test_images_of_the_other_split_are_skipped_and_reported(tmp_path, as_tar):
    files = {
        f"{FIRST}/{FIRST}_1.JPEG": b"1",
        f"{FIRST}/ILSVRC2012_val_00000001.JPEG": b"2",
        f"{SECOND}/{FIRST}_3.JPEG": b"3",
        f"{SECOND}/{SECOND}_4.png": b"4",
    }
    path = _tar(tmp_path / "all.tar", files) if as_tar else write_files(tmp_path, files)
    train, validation = _listing(path, "train"), _listing(path, "validation")
    names = {name.decode(): label for name, (label, _) in _images(train).items()}
    assert names == {f"{FIRST}_1.JPEG": 0, f"{FIRST}_3.JPEG": 7, f"{SECOND}_4.png": 7}
    assert _kinds(train) == [("misplaced", f"{FIRST}_3.JPEG"), ("other_split", "ILSVRC2012_val_00000001.JPEG")]
    assert list(_images(validation)) == [b"ILSVRC2012_val_00000001.JPEG"]
    assert [kind for kind, _ in _kinds(validation)] == ["other_split"] * 3 + ["validation_label"]


def test_same_name_in_several_classes_is_read_from_each(tmp_path):
    files = {
        f"{synset}/{number:04d}.jpg": synset.encode() + bytes([number])
        for synset in (FIRST, SECOND)
        for number in range(3)
    }
    for path in (write_files(tmp_path / "folders", files), _tar(tmp_path / "train.tar", files)):
        planned, problems = plan_shards("train", _listing(path, "train"), PhotographConversion())
        assert not problems
        contents = [data for shard in planned for data in read_images(shard.images, shard.containers)]
        labels = [int(label) for shard in planned for label in shard.images["label"]]
        assert sorted(contents) == sorted(files.values())
        assert [0 if data.startswith(FIRST.encode()) else 7 for data in contents] == labels
