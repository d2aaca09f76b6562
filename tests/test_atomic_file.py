import pytest
import tensorflow as tf

from data_prep import storage
from hamgan.files import TEMPORARY_SUFFIX, atomic_file


@pytest.fixture(params=["local", "remote"])
def path(request, tmp_path):
    """Path of an existing file; a ``file://`` path is treated like ``gs://``."""
    (tmp_path / "records[1]").write_bytes(b"old")
    return f"{'file://' if request.param == 'remote' else ''}{tmp_path}/records[1]"


def _write(path, content):
    with open(path.removeprefix("file://"), "wb") as file:
        file.write(content)


def test_atomic_file_replaces_the_old_file_at_the_end(path, tmp_path):
    with atomic_file(path) as temporary:
        _write(temporary, b"new")
        assert storage.read_text(path) == "old"
        assert temporary.endswith(TEMPORARY_SUFFIX)
    assert storage.read_text(path) == "new"
    assert storage.children(str(tmp_path)) == [("records[1]", False)]


def test_atomic_file_keeps_the_old_file_after_an_error(path, tmp_path):
    def write_and_fail():
        with atomic_file(path) as temporary:
            _write(temporary, b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_fail()
    assert storage.read_text(path) == "old"
    assert storage.children(str(tmp_path)) == [("records[1]", False)]


def test_atomic_file_reports_a_file_that_was_not_written(path):
    with pytest.raises((OSError, tf.errors.NotFoundError)), atomic_file(path):
        pass
    assert storage.read_text(path) == "old"
