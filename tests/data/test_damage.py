"""Damaged, incomplete, empty and tiny data sets, and folders with unusual names."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from dataset_helpers import pictures, record_files, write_dataset

from hamgan.config import DataConfig
from hamgan.data.dataset import ClassificationDataset
from hamgan.errors import UserError


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    """Data set with 40 training and 5 test examples, each split in four files."""
    path = tmp_path_factory.mktemp("intact")
    splits = {"train": (pictures(40), np.arange(40) % 3), "test": (pictures(5), np.arange(5) % 3)}
    write_dataset(path, splits, num_shards=4)
    return path


@pytest.fixture
def damaged(intact, tmp_path):
    """Copy for tests to damage, in a folder whose name looks like a glob pattern."""
    return shutil.copytree(intact, tmp_path / "data [1]*?{a,b}")


@pytest.fixture
def cache(tmp_path):
    return str(tmp_path / "cache")


def _open(path, **splits):
    return ClassificationDataset(DataConfig("given", str(path), **{"train_split": "train", **splits}))


def _read_all(dataset, split="train"):
    return list(dataset.evaluation_batches(split, resolution=8, batch=10).as_numpy_iterator())


def test_any_folder_name_works(damaged, cache):
    dataset = _open(damaged, validation_split="test")
    assert len(_read_all(dataset)) == 4
    assert len(list(dataset.training_batches(resolution=8, batch=4, seed=0).take(12))) == 12
    assert dataset.identity("test", cache_dir=cache)["examples"] == 5


def _flip(file, position):
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)


def _truncate(file):
    file.write_bytes(file.read_bytes()[:-3])


def _drop_last_record(file):
    records = list(tf.data.TFRecordDataset(str(file)).as_numpy_iterator())
    with tf.io.TFRecordWriter(str(file)) as writer:
        for record in records[:-1]:
            writer.write(record)


DAMAGE = {
    "flipped bit in a record": (lambda file: _flip(file, 100), "corrupted record at 12"),
    "flipped bit in a length": (lambda file: _flip(file, 1), "corrupted record at 0"),
    "truncated": (_truncate, "truncated record"),
    "missing record": (_drop_last_record, "expected 10 records, found 9"),
    "empty": (lambda file: file.write_bytes(b""), "expected 10 records, found 0"),
    "not a record file": (lambda file: file.write_bytes(b"<html>" * 9), "corrupted record at 0"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_record_file_is_named(damaged, cache, damage):
    apply, message = DAMAGE[damage]
    file = record_files(damaged)[2]
    apply(file)
    dataset = _open(damaged, validation_split="test")
    expected = f"data set given, split train: {file}: {message}"
    with pytest.raises(UserError) as raised, dataset.reading("train"):
        _read_all(dataset)
    assert str(raised.value).startswith(expected)
    with pytest.raises(UserError) as raised, dataset.reading():
        list(dataset.training_batches(resolution=8, batch=4, seed=0).take(12).as_numpy_iterator())
    assert str(raised.value).startswith(expected)
    with pytest.raises(UserError) as raised:
        dataset.identity("train", cache_dir=cache)
    assert str(raised.value).startswith(expected)
    # Splits in other files can still be read.
    assert len(_read_all(dataset, "test")) == 1


def test_damage_in_the_first_file_is_reported_before_reading_batches(damaged):
    file = record_files(damaged)[0]
    _flip(file, 100)
    dataset = _open(damaged, validation_split="test")
    with pytest.raises(UserError, match="corrupted record") as raised:
        dataset.training_batches(resolution=8, batch=4, seed=0)
    assert str(file) in str(raised.value)


def test_record_file_deleted_after_opening_is_named(damaged, cache):
    dataset = _open(damaged, validation_split="test")
    file = record_files(damaged)[1]
    file.unlink()
    with pytest.raises(UserError, match="No such file") as raised, dataset.reading():
        _read_all(dataset)
    assert f"split train: {file}" in str(raised.value)
    with pytest.raises(UserError, match="No such file") as raised:
        dataset.identity("train", cache_dir=cache)
    assert f"split train: {file}" in str(raised.value)


def test_missing_record_files_are_found_when_the_data_set_is_opened(damaged):
    for file in record_files(damaged)[1:3]:
        file.unlink()
    with pytest.raises(UserError, match=r"is missing 2 record files of split 'train', such as .*00001-of-00004"):
        _open(damaged, validation_split="test")
    assert _open(damaged, train_split="test", validation_split="test").num_examples("test") == 5


@pytest.fixture
def folder(damaged):
    return damaged / "given" / "1.0.0"


METADATA = ("dataset_info.json", "features.json", "preparation.json")
CONTENTS = {
    "truncated": b'{"name": "giv',
    "empty": b"",
    "not an object": b"[]",
    "no fields": b"{}",
    "binary": b"\xff\xfe\x00" * 9,
}


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("name", METADATA)
def test_damaged_metadata_file_is_named(damaged, folder, name, content):
    (folder / name).write_bytes(CONTENTS[content])
    with pytest.raises(UserError) as raised:
        _open(damaged, validation_split="test")
    assert f"{folder / name} is damaged: " in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", METADATA[:2])
def test_missing_metadata_file_is_named(damaged, folder, name):
    (folder / name).unlink()
    with pytest.raises(UserError) as raised:
        _open(damaged, validation_split="test")
    assert f"{folder / name} is missing" in str(raised.value)


def test_invalid_metadata_field_is_one_line(damaged, folder):
    path = folder / "dataset_info.json"
    content = json.loads(path.read_text())
    content["splits"][0]["shardLengths"] = ["many"]
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"cannot be opened: dataset_info\.json: Failed to parse splits"):
        _open(damaged, validation_split="test")


@pytest.mark.parametrize("split", ["train[:0]", "train[7:7]", "train[:1%]", "train[-2:-4]"])
@pytest.mark.parametrize("role", ["train_split", "validation_split"])
def test_empty_split_is_rejected(intact, split, role):
    with pytest.raises(UserError, match=r"split 'train.*' of data set 'given' is empty"):
        _open(intact, **{"validation_split": "test", role: split})


def test_split_without_files_is_rejected(damaged, folder):
    path = folder / "dataset_info.json"
    content = json.loads(path.read_text())
    for lengths in ([], ["0"]):
        next(split for split in content["splits"] if split["name"] == "test")["shardLengths"] = lengths
        path.write_text(json.dumps(content))
        with pytest.raises(UserError, match="split 'test' of data set 'given' is empty"):
            _open(damaged, validation_split="test")


def test_split_with_a_single_example_works(intact, cache):
    dataset = _open(intact, train_split="train[:1]", validation_split="test[:1]")
    for images, labels in dataset.training_batches(resolution=8, batch=4, seed=0).take(2).as_numpy_iterator():
        assert np.all(images == images[0])
        assert np.all(labels == labels[0])
    ((images, _),) = _read_all(dataset, "test[:1]")
    assert len(images) == 1
    assert dataset.identity("train[:1]", cache_dir=cache)["examples"] == 1


def test_unreadable_folder_is_one_line(damaged, monkeypatch):
    def deny(path):
        raise tf.errors.PermissionDeniedError(None, None, f"{path}; Permission denied")

    monkeypatch.setattr(tf.io.gfile, "listdir", deny)
    with pytest.raises(UserError, match=r"data set given in .*1\.0\.0 cannot be read: .*Permission denied"):
        _open(damaged, validation_split="test")
