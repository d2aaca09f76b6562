import os

import pytest
import tensorflow as tf

from hamgan.errors import UserError
from hamgan.presets import digits
from hamgan.run_directory import LOCK_NAME, RunDirectory, check_writable, write_atomically


@pytest.fixture
def run(tmp_path):
    run = RunDirectory(str(tmp_path / "run"))
    run.create(digits())
    return run


def test_config_is_read_back(run):
    assert run.exists()
    assert run.read_config() == digits()


def test_there_is_no_run_where_none_was_made(tmp_path):
    run = RunDirectory(str(tmp_path / "nothing"))
    assert not run.exists()
    with pytest.raises(UserError, match=r"no run in .*nothing"):
        run.read_config()


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(UserError, match="is not a run"):
        RunDirectory(str(tmp_path)).create(digits())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_what_a_kill_while_it_is_made_leaves_is_no_hindrance(tmp_path):
    (tmp_path / "config.json.tmp").write_text('{"na')
    run = RunDirectory(str(tmp_path))
    run.create(digits())
    assert run.read_config() == digits()


def test_a_file_in_the_way_is_left_alone(tmp_path):
    path = tmp_path / "file"
    path.write_text("x")
    with pytest.raises(UserError, match="is not a run"):
        RunDirectory(str(path)).create(digits())
    with pytest.raises(UserError, match="cannot write the run folder"):
        RunDirectory(str(path / "below")).create(digits())
    assert path.read_text() == "x"


def test_torn_lines_of_the_metrics_are_left_out(run):
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
def test_what_is_no_row_of_the_metrics_is_left_out(run, garbage):
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
def test_what_cannot_be_read_is_named(tmp_path, name, read):
    """Folders where files should be, which nobody can read, whatever the permissions."""
    run = RunDirectory(str(tmp_path))
    (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=rf"^cannot read {tmp_path}/{name}: [^\n]+$"):
        read(run)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xff", b"{}", b"[3]", b'[{"step": 3}]', b"null"])
def test_a_damaged_record_of_collapses_is_named(run, content):
    write_atomically(run.collapses_path, content)
    with pytest.raises(UserError, match=r"collapses\.json is damaged [^\n]+$"):
        run.read_collapses()


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe", b"\x00" * 9])
def test_a_damaged_config_is_named(run, content):
    write_atomically(run.config_path, content)
    with pytest.raises(UserError, match=r"config\.json is not a HamGAN config: [^\n]+$"):
        run.read_config()


@pytest.mark.parametrize("write", [RunDirectory.create, RunDirectory.write_config])
def test_a_disk_that_is_full_is_named_and_nothing_is_left(tmp_path, monkeypatch, write):
    def refuse(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(tf.io.gfile, "rename", refuse)
    run = RunDirectory(str(tmp_path))
    with pytest.raises(UserError, match=rf"^cannot write the run folder {tmp_path}: No space left on device$"):
        write(run, digits())
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_trainer_that_was_killed_is_no_hindrance(tmp_path):
    (tmp_path / LOCK_NAME).touch()
    run = RunDirectory(str(tmp_path))
    run.create(digits())
    assert run.read_config() == digits()


def test_folders_that_can_be_written_are_told_apart(tmp_path):
    check_writable(str(tmp_path / "not" / "yet" / "there"))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(tf.errors.OpError):
        check_writable(str(tmp_path / "file" / "below"))


def test_a_check_that_fails_leaves_nothing(tmp_path, monkeypatch):
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


def test_evaluations_are_listed_by_step(run):
    for step in (100, 20):
        run.write_evaluation({"step": step, "card_id": "0a"})
    run.write_evaluation({"step": 20, "card_id": "0b"})
    write_atomically(os.path.join(run.evaluations, "ema_step_00000020.json"), b"of another kind")
    found = [(result["step"], result["card_id"]) for result in run.read_evaluations()]
    assert found == [(20, "0a"), (20, "0b"), (100, "0a")]
    assert run.read_evaluation(20, "0b") == {"step": 20, "card_id": "0b"}
    assert run.read_evaluation(100, "0b") is None


def test_a_damaged_evaluation_is_named(run):
    write_atomically(run.evaluation_path(20, "0a"), b"{")
    with pytest.raises(UserError, match=r"step_00000020_0a\.json is damaged .*delete it"):
        run.read_evaluations()


def _result(step, fid, card_id, images=10):
    return {"step": step, "card_id": card_id, "scores": {"fid": fid}, "card": {"images": {"fake": images}}}


def test_the_best_step_compares_only_what_was_made_the_same_way(run):
    assert run.best_step() is None
    for result in (_result(1, 5.0, "0a"), _result(2, 4.0, "0a"), _result(3, 6.0, "0a"), _result(3, 1.0, "0b", 99)):
        run.write_evaluation(result)
    assert run.best_step() == 2
    assert run.best_step(among=[1, 3]) == 1
    # Of as many steps, the protocol with more images counts.
    assert run.best_step(among=[3]) == 3
    run.write_evaluation(_result(1, 0.5, "0b", 99))
    run.write_evaluation(_result(2, 2.0, "0b", 99))
    assert run.best_step() == 1


def test_writing_replaces_the_file_whole_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "file"
    write_atomically(str(path), b"long content")
    write_atomically(str(path), b"short")
    assert path.read_bytes() == b"short"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
