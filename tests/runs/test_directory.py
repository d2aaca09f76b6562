import json

import pytest
import tensorflow as tf

from hamgan.config import override
from hamgan.config.presets import digits
from hamgan.errors import UserError
from hamgan.files import check_writable, write_atomically
from hamgan.runs.directory import LOCK_NAME, RunDirectory


@pytest.fixture
def run(tmp_path):
    run = RunDirectory(str(tmp_path / "run"))
    run.create(digits())
    return run


def test_config_is_read_back(run):
    assert run.exists()
    assert run.read_config() == digits()


def test_a_missing_run_raises_a_user_error(tmp_path):
    run = RunDirectory(str(tmp_path / "nothing"))
    assert not run.exists()
    with pytest.raises(UserError, match=r"no run in .*nothing"):
        run.read_config()


def test_a_folder_with_other_files_is_rejected(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(UserError, match="is not a run"):
        RunDirectory(str(tmp_path)).create(digits())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_run_is_created_after_an_interrupted_creation(tmp_path):
    (tmp_path / "config.json.tmp").write_text('{"na')
    run = RunDirectory(str(tmp_path))
    run.create(digits())
    assert run.read_config() == digits()


def test_an_existing_file_is_rejected(tmp_path):
    path = tmp_path / "file"
    path.write_text("x")
    with pytest.raises(UserError, match="is not a run"):
        RunDirectory(str(path)).create(digits())
    with pytest.raises(UserError, match="cannot write the run folder"):
        RunDirectory(str(path / "below")).create(digits())
    assert path.read_text() == "x"


def test_truncated_metrics_lines_are_ignored(run):
    run.append_metrics([{"step": 1, "x": 0.5}])
    with open(run.metrics_path, "a") as file:
        file.write('{"step": 2, "x"')
    run.end_torn_line()
    run.append_metrics([{"step": 2, "x": 0.25}])
    with open(run.metrics_path, "a") as file:
        file.write('{"step": 3, "x"')
    assert run.read_metrics() == [{"step": 1, "x": 0.5}, {"step": 2, "x": 0.25}]
    run.forget_metrics_after(1)
    run.append_metrics([{"step": 2, "x": 0.75}])
    assert run.read_metrics() == [{"step": 1, "x": 0.5}, {"step": 2, "x": 0.75}]


@pytest.mark.parametrize(
    "garbage",
    [b"\xff\xfe\x00garbage\n", b"[1, 2]\n", b'{"loss": 1.0}\n', b'{"step": "2"}\n', b'{"step": null}\n', b"7\n"],
)
def test_invalid_metrics_rows_are_ignored(run, garbage):
    run.append_metrics([{"step": 1}])
    with open(run.metrics_path, "ab") as file:
        file.write(garbage)
    run.append_metrics([{"step": 2}, {"step": 3}])
    assert run.read_metrics() == [{"step": 1}, {"step": 2}, {"step": 3}]
    run.forget_metrics_after(2)
    assert run.read_metrics() == [{"step": 1}, {"step": 2}]


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("config.json", RunDirectory.read_config),
        ("metrics.jsonl", RunDirectory.read_metrics),
        ("metrics.jsonl", lambda run: run.forget_metrics_after(1)),
        ("collapses.json", RunDirectory.read_collapses),
    ],
)
def test_errors_name_unreadable_files(tmp_path, name, read):
    """Uses folders in place of files, which are unreadable regardless of permissions."""
    run = RunDirectory(str(tmp_path))
    (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=rf"^cannot read {tmp_path}/{name}: [^\n]+$"):
        read(run)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xff", b"{}", b"[3]", b'[{"step": 3, "action": "stop"}]', b"null"]
)
def test_errors_name_a_damaged_collapse_record(run, content):
    write_atomically(run.collapses_path, content)
    with pytest.raises(UserError, match=r"collapses\.json is damaged [^\n]+$"):
        run.read_collapses()


def test_class_counts_are_read_back_or_missed(run):
    config = run.read_config()
    counted = override(config, ["train.label_distribution=dataset"])
    with pytest.raises(UserError, match=r"class_counts.json is missing, but train.label_distribution needs it"):
        run.read_class_counts(counted)
    counts = list(range(config.model.num_classes))
    run.write_class_counts(counts)
    assert run.read_class_counts(counted) == counts
    assert run.read_class_counts(config) is None
    for content in ("[3]", "{}", json.dumps([0] * len(counts)), json.dumps([-1, *counts[1:]])):
        with open(run.class_counts_path, "w") as file:
            file.write(content)
        with pytest.raises(UserError, match=r"class_counts.json is damaged \(expected 10 non-negative integers"):
            run.read_class_counts(counted)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe", b"\x00" * 9])
def test_errors_name_a_damaged_config(run, content):
    write_atomically(run.config_path, content)
    with pytest.raises(UserError, match=r"config\.json is not a HamGAN config: [^\n]+$"):
        run.read_config()


@pytest.mark.parametrize("write", [RunDirectory.create, RunDirectory.write_config])
def test_a_full_disk_is_reported_and_leaves_no_files(tmp_path, monkeypatch, write):
    def refuse(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(tf.io.gfile, "rename", refuse)
    run = RunDirectory(str(tmp_path))
    with pytest.raises(UserError, match=rf"^cannot write the run folder {tmp_path}: No space left on device$"):
        write(run, digits())
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_created_despite_a_stale_lock(tmp_path):
    (tmp_path / LOCK_NAME).touch()
    run = RunDirectory(str(tmp_path))
    run.create(digits())
    assert run.read_config() == digits()


def test_writable_folders_are_recognized(tmp_path):
    check_writable(str(tmp_path / "not" / "yet" / "there"))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(tf.errors.OpError):
        check_writable(str(tmp_path / "file" / "below"))


def test_a_failed_check_leaves_no_files(tmp_path, monkeypatch):
    def refuse(*_):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(tf.io.gfile.GFile, "write", refuse)
    with pytest.raises(tf.errors.ResourceExhaustedError):
        check_writable(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_grids_are_listed_by_step(run):
    for step in (100, 20):
        write_atomically(run.samples_path(step), b"png")
    assert run.sample_grids() == {20: run.samples_path(20), 100: run.samples_path(100)}


def test_writing_replaces_the_file_and_leaves_no_other(tmp_path):
    path = tmp_path / "file"
    write_atomically(str(path), b"long content")
    write_atomically(str(path), b"short")
    assert path.read_bytes() == b"short"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_concurrent_writers_use_separate_temporary_files(tmp_path, monkeypatch):
    """Another process writes the same file between the write and the rename."""
    path = str(tmp_path / "file")
    rename = tf.io.gfile.rename

    def rename_after_another(*arguments, **options):
        monkeypatch.setattr(tf.io.gfile, "rename", rename)
        write_atomically(path, b"another's")
        rename(*arguments, **options)

    monkeypatch.setattr(tf.io.gfile, "rename", rename_after_another)
    write_atomically(path, b"ours")
    assert (tmp_path / "file").read_bytes() == b"ours"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_failed_write_leaves_no_files(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(tf.errors.OpError):
        write_atomically(str(tmp_path / "folder"), b"content")
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]
