import json
import math
import os

import pytest
import tensorflow as tf

from hamgan.config import override
from hamgan.config.presets import digits
from hamgan.config.protocols import card_id
from hamgan.errors import FailedError, UserError
from hamgan.files import check_writable, write_atomically
from hamgan.runs.checkpoints import checkpoint_path
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


def _result(step, fid, seed=0, images=10, checkpoint=None, **others):
    card = {"images": {"fake": images}, "seed": seed}
    return {"step": step, "checkpoint": checkpoint, "card": card, "scores": {"fid": fid}, **others}


def _put_checkpoint(run, step, content):
    """Writes what :meth:`RunDirectory.checkpoint_sha256` reads of a checkpoint; returns its digest."""
    write_atomically(checkpoint_path(run.checkpoints, step) + ".index", content)
    return run.checkpoint_sha256(step)


def test_evaluations_are_listed_by_step(run):
    for step, seed in ((100, 0), (20, 1), (20, 0)):
        run.write_evaluation(_result(step, 3.0, seed))
    write_atomically(os.path.join(run.evaluations, "ema_step_00000020.json"), b"of another kind")
    found = run.read_evaluations()
    assert [result["step"] for result in found] == [20, 20, 100]
    ids = {result["card"]["seed"]: result["card_id"] for result in found}
    assert ids == {seed: card_id({"images": {"fake": 10}, "seed": seed}) for seed in (0, 1)}


def test_results_are_keyed_by_step_checkpoint_and_card(run):
    results = [_result(1, 5.0, checkpoint="aa"), _result(1, 4.0, checkpoint="bb"), _result(1, 3.0, 7, checkpoint="aa")]
    for result in results:
        run.write_evaluation(result)
    assert sorted(result["scores"]["fid"] for result in run.read_evaluations()) == [3.0, 4.0, 5.0]
    run.write_evaluation(_result(1, 6.0, checkpoint="aa"))
    assert sorted(result["scores"]["fid"] for result in run.read_evaluations()) == [3.0, 4.0, 6.0]


def test_scores_of_an_earlier_result_are_kept(run):
    run.write_evaluation(
        _result(
            *(1, 5.0),
            intra_fid={"2": 7.0, "3": 8.0},
            standard_errors={"kid": None, "fid": 0.5},
            extras={"bootstrap": 20, "fid_infinity": False, "intra_classes": "2,3"},
        )
    )
    extras = {"bootstrap": 0, "fid_infinity": True, "intra_classes": "4"}
    later = _result(1, 5.0, fid_infinity=4.0, intra_fid={"4": 9.0}, standard_errors={"kid": 0.1}, extras=extras)
    written = run.write_evaluation(later)
    assert run.read_evaluations() == [written]
    assert written["fid_infinity"] == 4.0
    assert written["intra_fid"] == {"2": 7.0, "3": 8.0, "4": 9.0}
    assert written["standard_errors"] == {"kid": 0.1, "fid": 0.5}
    assert written["extras"]["bootstrap"] == 20


@pytest.mark.parametrize(
    "content",
    [
        *(b"{", b"\xff\xfe", b"[]", b"null", b'{"step": 20}'),
        b'{"step": 20, "scores": {"fid": "x"}, "card": {"images": {"fake": 2}}}',
        b'{"step": 20, "scores": {"fid": 1.0}, "card": {"images": {}}}',
        b'{"step": 20, "scores": {"fid": 1.0}, "card": {"images": {"fake": 2}}, "real": null}',
        b'{"step": 20, "scores": {"fid": 1.0}, "card": {"images": {"fake": 2}}, "intra_fid": {"3": null}}',
        b'{"step": 20, "scores": {"fid": 1.0}, "card": {"images": {"fake": 2}, "versions": {}, "train": {}}}',
    ],
)
def test_errors_name_a_damaged_evaluation(run, content):
    write_atomically(os.path.join(run.evaluations, "step_00000020_0a.json"), content)
    with pytest.raises(UserError, match=r"step_00000020_0a\.json is damaged .*delete it"):
        run.read_evaluations()


def test_the_best_step_compares_only_results_of_one_protocol(run):
    assert run.best_step() is None
    for result in (_result(1, 5.0), _result(2, 4.0), _result(3, 6.0), _result(3, 1.0, images=99)):
        run.write_evaluation(result)
    assert run.best_step() == 2
    assert run.best_step(among=[1, 3]) == 1
    # Of as many steps, the protocol with more images counts.
    assert run.best_step(among=[3]) == 3
    run.write_evaluation(_result(1, 0.5, images=99))
    run.write_evaluation(_result(2, 2.0, images=99))
    assert run.best_step() == 1


def test_a_score_that_is_not_finite_is_never_the_best(run):
    for step, fid in ((1, math.nan), (2, 4.0), (3, -math.inf), (4, None)):
        run.write_evaluation(_result(step, fid))
    assert run.best_step() == 2
    assert run.best_step(among=[1, 3, 4]) is None
    # A card with results that are not finite is not the one that most steps have.
    for step in (1, 3):
        run.write_evaluation(_result(step, math.nan, images=99))
    run.write_evaluation(_result(2, 1.0, images=5))
    run.write_evaluation(_result(1, 2.0, images=5))
    assert run.best_step() == 2


def test_results_of_other_checkpoints_are_excluded(run):
    own = _put_checkpoint(run, 1, b"own")
    run.write_evaluation(_result(1, 5.0, checkpoint=own))
    run.write_evaluation(_result(2, 4.0, checkpoint="0c"))
    run.write_evaluation(_result(1, 1.0, checkpoint="0d", source="elsewhere/ckpt-1"))
    run.write_evaluation(_result(2, 2.0, checkpoint="0d", source="elsewhere/ckpt-2"))
    assert [(result["step"], result["scores"]["fid"]) for result in run.own_evaluations()] == [(1, 5.0), (2, 4.0)]
    assert run.best_step() == 2
    assert len(run.read_evaluations()) == 4


def test_merging_keeps_results_of_the_runs_own_checkpoint(run):
    """As when a backup of a checkpoint that is gone is asked for more scores."""
    run.write_evaluation(_result(1, 5.0, checkpoint="0a"))
    run.write_evaluation(_result(1, 5.0, checkpoint="0a", source="backup/ckpt-1", fid_infinity=4.0))
    (result,) = run.own_evaluations()
    assert result["fid_infinity"] == 4.0


def test_scores_of_a_replaced_checkpoint_are_excluded(run):
    """As after resuming from before a damaged checkpoint; also results that earlier versions filed wrongly."""
    _put_checkpoint(run, 1, b"first")
    run.write_evaluation(_result(1, 1.0, checkpoint=run.checkpoint_sha256(1)))
    _put_checkpoint(run, 1, b"second")
    assert run.own_evaluations() == []
    run.write_evaluation(_result(1, 5.0, checkpoint=run.checkpoint_sha256(1)))
    assert [result["scores"]["fid"] for result in run.own_evaluations()] == [5.0]


def test_the_latest_score_of_deleted_checkpoints_counts(run):
    run.write_evaluation(_result(1, 1.0, checkpoint="ff", time=1.0))
    run.write_evaluation(_result(1, 2.0, checkpoint="00", time=2.0))
    assert [result["scores"]["fid"] for result in run.own_evaluations()] == [2.0]


def test_an_unwritable_result_raises_a_failed_error(run, monkeypatch):
    def full(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(tf.io.gfile, "rename", full)
    with pytest.raises(FailedError, match=r"cannot write .*step_00000001_.*: No space left on device"):
        run.write_evaluation(_result(1, 1.0))
    assert os.listdir(run.evaluations) == []


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
