import os

import pytest
import tensorflow as tf

from hamgan.errors import UserError
from hamgan.files import check_remote, is_pattern, literal_path


def test_ordinary_paths_are_unchanged():
    for path in ("runs/a", "/runs/ü b/ckpt-1", "gs://bucket/run", "{a,b}"):
        with literal_path(path) as literal:
            assert literal == path


def test_patterns_get_a_temporary_literal_path(tmp_path):
    folder = tmp_path / "run[1]"
    folder.mkdir()
    for name in ("ckpt-1.index", "ckpt-1.data-00000-of-00001", "ckpt-10.index"):
        (folder / name).write_text(name)
    with literal_path(str(folder / "ckpt-1")) as literal:
        assert not is_pattern(literal)
        assert sorted(os.listdir(os.path.dirname(literal))) == ["literal.data-00000-of-00001", "literal.index"]
        with open(f"{literal}.index") as file:
            assert file.read() == "ckpt-1.index"
    assert not os.path.exists(os.path.dirname(literal))
    with literal_path(str(folder)) as literal:
        assert sorted(os.listdir(literal)) == sorted(os.listdir(folder))


def test_patterns_in_buckets_are_rejected():
    for path in ("gs://bucket/run[1]", "gs://bucket/a*", "gs://bucket/a\\b"):
        with pytest.raises(UserError, match="choose another name"):
            check_remote(path)
        with pytest.raises(UserError, match="choose another name"), literal_path(path):
            pass


def test_a_temporary_folder_with_pattern_characters_is_rejected(tmp_path, monkeypatch):
    odd = tmp_path / "t[1]"
    odd.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(odd))
    with pytest.raises(UserError, match=r"TMPDIR is .*t\[1\]"), literal_path(str(odd / "a")):
        pass
    assert os.listdir(odd) == []


def test_a_saved_model_is_loaded_from_a_folder_with_pattern_characters(tmp_path):
    # The second is what the first matches as a pattern.
    for name, value in (("model[1]", 1.0), ("model1", 2.0)):
        module = tf.Module()
        module.value = tf.Variable(value)
        tf.saved_model.save(module, str(tmp_path / name))
    with literal_path(str(tmp_path / "model[1]")) as literal:
        model = tf.saved_model.load(literal)
    assert model.value.numpy() == 1.0
