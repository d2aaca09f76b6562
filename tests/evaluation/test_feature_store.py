import json
import math
import os

import numpy as np
import pytest

from hamgan.errors import FailedError, UserError
from hamgan.evaluation import feature_store
from hamgan.evaluation.feature_store import FeatureStore


def _outputs(first, count):
    rows = np.arange(first, first + count, dtype=np.float32)[:, np.newaxis]
    return rows * np.ones(3, np.float32), rows * np.ones(2, np.float32) + 0.5, np.arange(first, first + count)


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(feature_store, "SAVE_SECONDS", math.inf)  # Nothing is saved because a test took long.
    return FeatureStore(str(tmp_path), {"of": "these"}, 7)


def _assert_whole(store):
    features = store.features()
    logits, pool_3, labels = _outputs(0, 7)
    np.testing.assert_array_equal(features.logits, logits)
    np.testing.assert_array_equal(features.pool_3, pool_3)
    np.testing.assert_array_equal(features.labels, labels)


def test_what_was_appended_is_read_without_being_loaded(store, tmp_path):
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


def test_it_goes_on_from_what_was_saved(store, tmp_path):
    store.append(*_outputs(0, 2))
    store.save()
    store.append(*_outputs(2, 3))  # Not saved: a kill here loses it.
    again = FeatureStore(str(tmp_path), {"of": "these"}, 7)
    assert again.rows == 2
    again.append(*_outputs(2, 5))
    _assert_whole(again)


def test_other_content_is_another_store(store, tmp_path):
    store.append(*_outputs(0, 7))
    for other in (FeatureStore(str(tmp_path), {"of": "those"}, 7), FeatureStore(str(tmp_path), {"of": "these"}, 6)):
        assert other.rows == 0
    store.delete()
    assert FeatureStore(str(tmp_path), {"of": "these"}, 7).rows == 0


@pytest.mark.parametrize("damage", ["truncated", "missing", "torn"])
def test_a_damaged_store_begins_again(store, tmp_path, damage):
    store.append(*_outputs(0, 7))
    path = os.path.join(store.path, "pool_3.float32")
    if damage == "truncated":
        os.truncate(path, 10)
    elif damage == "missing":
        os.remove(path)
    else:
        with open(os.path.join(store.path, "progress.json"), "w") as file:
            file.write('{"rows": 7')
    again = FeatureStore(str(tmp_path), {"of": "these"}, 7)
    assert again.rows == 0
    again.append(*_outputs(0, 7))
    _assert_whole(again)


def test_progress_is_saved_now_and_then(store, monkeypatch):
    monkeypatch.setattr(feature_store, "SAVE_SECONDS", -1.0)
    store.append(*_outputs(0, 3))
    with open(os.path.join(store.path, "progress.json")) as file:
        assert json.load(file)["rows"] == 3


def test_more_than_was_announced_is_refused(store):
    with pytest.raises(ValueError, match="received"):
        store.append(*_outputs(0, 8))


def test_a_folder_that_cannot_hold_features_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="pass --cache_dir"):
        FeatureStore(str(tmp_path / "file"), {}, 1)
    with pytest.raises(UserError, match=r"a local folder, found gs://bucket; pass --cache_dir"):
        FeatureStore("gs://bucket", {}, 1)


def test_a_full_disk_is_a_failure(store, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("builtins.open", full)
    with pytest.raises(FailedError, match=r"cannot write features into .*No space left"):
        store.append(*_outputs(0, 2))
