import dataclasses
import pathlib

import numpy as np
import pytest
from dataset_helpers import pictures, record_files, rewrite_labels, write_dataset

from hamgan.data import class_counts
from hamgan.data.class_counts import cached_label_counts, count_labels
from hamgan.data.dataset import ClassificationDataset
from hamgan.data.records import RecordPart
from hamgan.errors import UserError

LABELS = np.array([2, 0, 0, 2, 2, 0, 2, 2, 0, 2, 2, 2])


@pytest.fixture
def config(tmp_path):
    return write_dataset(tmp_path / "data", {"train": (pictures(12), LABELS)}, num_shards=3)


@pytest.fixture
def cache(tmp_path):
    return str(tmp_path / "cache")


def test_counts_cover_all_classes_of_a_split(config, cache):
    dataset = ClassificationDataset(config)
    assert dataset.class_counts("train", cache) == np.bincount(LABELS, minlength=3).tolist() == [4, 0, 8]
    _, labels = next(dataset.evaluation_batches("train[:5]", resolution=8, batch=12).as_numpy_iterator())
    assert dataset.class_counts("train[:5]", cache) == np.bincount(labels, minlength=3).tolist()


def test_counts_without_labels_are_those_of_one_class(tmp_path, cache):
    dataset = ClassificationDataset(write_dataset(tmp_path, {"train": (pictures(12), None)}))
    assert dataset.class_counts("train", cache) == [12]
    assert dataset.class_counts("train[:5]", cache) == [5]


def test_labels_out_of_range_are_named(config, cache, tmp_path):
    rewrite_labels(record_files(tmp_path)[1], {0: -1})
    dataset = ClassificationDataset(dataclasses.replace(config))
    with pytest.raises(UserError, match="data set given, split train: found label -1; expected 0 to 2"):
        dataset.class_counts("train", cache)


def test_labels_are_counted_once(tmp_path, config, cache, monkeypatch):
    calls = []
    monkeypatch.setattr(class_counts, "count_labels", lambda *given: calls.append(given) or count_labels(*given))
    parts = [RecordPart(str(path), 0, 4) for path in record_files(tmp_path)]
    counts = cached_label_counts(parts, "label", cache)
    assert counts == cached_label_counts(parts, "label", cache) == {0: 4, 2: 8}
    assert len(calls) == 1
    (entry,) = pathlib.Path(cache).rglob("*.json")
    for damage in ("", "[[0, 4]]", "[[0, 4], [2, 8]", "3", "[3, 4]"):
        entry.write_text(damage)
        assert cached_label_counts(parts, "label", cache) == counts
    assert len(calls) == 6
