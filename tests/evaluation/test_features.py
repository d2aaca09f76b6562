import json
import math
import os
import pathlib

import numpy as np
import pytest

from hamgan.errors import FailedError, UserError
from hamgan.evaluation import features as feature_store
from hamgan.evaluation.features import FeatureStore


def _outputs(first, count):
    rows = np.arange(first, first + count, dtype=np.float32)[:, np.newaxis]
    return rows * np.ones(3, np.float32), rows * np.ones(2, np.float32) + 0.5, np.arange(first, first + count)


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(feature_store, "SAVE_SECONDS", math.inf)  # Saves must not depend on the speed of a test.
    return FeatureStore(str(tmp_path), {"of": "these"}, 7)


def _assert_whole(store):
    features = store.features()
    logits, pool_3, labels = _outputs(0, 7)
    np.testing.assert_array_equal(features.logits, logits)
    np.testing.assert_array_equal(features.pool_3, pool_3)
    np.testing.assert_array_equal(features.labels, labels)


def test_appended_rows_are_memory_mapped(store, tmp_path):
    store.append(*_outputs(0, 4))
    assert not store.is_complete
    with pytest.raises(ValueError, match="has 4 of 7"):
        store.features()
    store.append(*_outputs(4, 3))
    _assert_whole(store)
    assert isinstance(store.features().pool_3, np.memmap)
    again = FeatureStore(str(tmp_path), {"of": "these"}, 7)
    assert again.is_complete
    _assert_whole(again)


def test_a_store_continues_from_its_saved_rows(store, tmp_path):
    store.append(*_outputs(0, 2))
    store.save()
    store.append(*_outputs(2, 3))  # Not saved, so lost if the process is killed.
    again = FeatureStore(str(tmp_path), {"of": "these"}, 7)
    assert again.rows == 2
    again.append(*_outputs(2, 5))
    _assert_whole(again)


def test_different_content_uses_a_different_store(store, tmp_path):
    store.append(*_outputs(0, 7))
    for other in (FeatureStore(str(tmp_path), {"of": "those"}, 7), FeatureStore(str(tmp_path), {"of": "these"}, 6)):
        assert other.rows == 0
    store.delete()
    assert FeatureStore(str(tmp_path), {"of": "these"}, 7).rows == 0


def _rewrite_progress(**changes):
    def rewrite(folder):
        path = os.path.join(folder, "progress.json")
        with open(path) as file:
            progress = json.load(file)
        with open(path, "w") as file:
            json.dump({**progress, **changes}, file)

    return rewrite


def _write(name, content):
    return lambda folder: pathlib.Path(folder, name).write_bytes(content)


def _flip_a_bit(folder):
    path = pathlib.Path(folder, "pool_3.float32")
    content = bytearray(path.read_bytes())
    content[5] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: os.truncate(os.path.join(folder, "pool_3.float32"), 10),
        lambda folder: os.remove(os.path.join(folder, "pool_3.float32")),
        _flip_a_bit,
        _write("progress.json", b'{"rows": 7'),
        _write("progress.json", b"\xff\xfe"),
        _write("progress.json", b"[7]"),
        _write("progress.json", b"null"),
        _rewrite_progress(rows=8),
        _rewrite_progress(rows=-1),
        _rewrite_progress(rows="7"),
        _rewrite_progress(widths={"logits": 3, "pool_3": 2}),
        _rewrite_progress(widths={"logits": 0, "pool_3": 0, "labels": 0}),
        _rewrite_progress(widths={"logits": "3", "pool_3": 2, "labels": 1}),
        _rewrite_progress(crc32=None),
    ],
)
def test_a_damaged_store_starts_over(store, tmp_path, damage):
    store.append(*_outputs(0, 7))
    damage(store.path)
    again = FeatureStore(str(tmp_path), {"of": "these"}, 7)
    assert again.rows == 0
    again.append(*_outputs(0, 7))
    _assert_whole(again)
    assert FeatureStore(str(tmp_path), {"of": "these"}, 7).is_complete


def test_two_processes_fill_one_store(store, tmp_path):
    """One process starts while the other is writing, and deletes the store when it has finished."""
    other = FeatureStore(str(tmp_path), {"of": "these"}, 7)
    store.append(*_outputs(0, 5))
    other.append(*_outputs(0, 2))
    store.append(*_outputs(5, 2))
    _assert_whole(store)
    other.save()
    resumed = FeatureStore(str(tmp_path), {"of": "these"}, 7)
    assert resumed.rows == 2
    store.delete()
    _assert_whole(store)
    for unfinished in (other, resumed):
        unfinished.append(*_outputs(2, 4))
        unfinished.append(*_outputs(6, 1))
        _assert_whole(unfinished)


def test_progress_is_saved_periodically(store, monkeypatch):
    monkeypatch.setattr(feature_store, "SAVE_SECONDS", -1.0)
    store.append(*_outputs(0, 3))
    with open(os.path.join(store.path, "progress.json")) as file:
        assert json.load(file)["rows"] == 3


def test_more_rows_than_declared_are_rejected(store):
    with pytest.raises(ValueError, match="received"):
        store.append(*_outputs(0, 8))


def test_an_unusable_cache_folder_is_a_one_line_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="pass --cache_dir"):
        FeatureStore(str(tmp_path / "file"), {}, 1)
    with pytest.raises(UserError, match=r"a local folder, found gs://bucket; pass --cache_dir"):
        FeatureStore("gs://bucket", {}, 1)


def test_a_full_disk_raises_failed_error(store):
    os.symlink("/dev/full", os.path.join(store.path, "logits.float32"))
    with pytest.raises(FailedError, match=r"cannot write features into .*No space left"):
        store.append(*_outputs(0, 2))


def test_unsaved_progress_raises_failed_error(store):
    store.append(*_outputs(0, 2))
    os.mkdir(os.path.join(store.path, "progress.json"))
    with pytest.raises(FailedError, match="cannot write features into"):
        store.save()
