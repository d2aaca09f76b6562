import math
import os

import pytest
import tensorflow as tf

from hamgan.config.presets import digits
from hamgan.config.protocols import card_id
from hamgan.errors import FailedError, UserError
from hamgan.files import write_atomically
from hamgan.runs.checkpoints import checkpoint_path
from hamgan.runs.directory import RunDirectory


@pytest.fixture
def run(tmp_path):
    run = RunDirectory(str(tmp_path / "run"))
    run.create(digits())
    return run


def _result(step, fid, seed=0, images=10, checkpoint=None, **others):
    card = {"images": {"fake": images}, "seed": seed}
    return {"step": step, "checkpoint": checkpoint, "card": card, "scores": {"fid": fid}, **others}


def _put_checkpoint(run, step, content):
    """Writes what :meth:`RunDirectory.checkpoint_sha256` reads of a checkpoint; returns its digest."""
    write_atomically(checkpoint_path(run.checkpoints, step) + ".index", content)
    return run.checkpoint_sha256(step)


def test_evaluations_are_listed_by_step(run):
    for step, seed in ((100, 0), (20, 1), (20, 0)):
        run.evaluations.write(_result(step, 3.0, seed))
    write_atomically(os.path.join(run.evaluations.path, "ema_step_00000020.json"), b"of another kind")
    found = run.evaluations.read()
    assert [result["step"] for result in found] == [20, 20, 100]
    ids = {result["card"]["seed"]: result["card_id"] for result in found}
    assert ids == {seed: card_id({"images": {"fake": 10}, "seed": seed}) for seed in (0, 1)}


def test_results_are_keyed_by_step_checkpoint_and_card(run):
    results = [_result(1, 5.0, checkpoint="aa"), _result(1, 4.0, checkpoint="bb"), _result(1, 3.0, 7, checkpoint="aa")]
    for result in results:
        run.evaluations.write(result)
    assert sorted(result["scores"]["fid"] for result in run.evaluations.read()) == [3.0, 4.0, 5.0]
    run.evaluations.write(_result(1, 6.0, checkpoint="aa"))
    assert sorted(result["scores"]["fid"] for result in run.evaluations.read()) == [3.0, 4.0, 6.0]


def test_scores_of_an_earlier_result_are_kept(run):
    run.evaluations.write(
        _result(
            *(1, 5.0),
            intra_fid={"2": 7.0, "3": 8.0},
            standard_errors={"kid": None, "fid": 0.5},
            extras={"bootstrap": 20, "fid_infinity": False, "intra_classes": "2,3"},
        )
    )
    extras = {"bootstrap": 0, "fid_infinity": True, "intra_classes": "4"}
    later = _result(1, 5.0, fid_infinity=4.0, intra_fid={"4": 9.0}, standard_errors={"kid": 0.1}, extras=extras)
    written = run.evaluations.write(later)
    assert run.evaluations.read() == [written]
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
    write_atomically(os.path.join(run.evaluations.path, "step_00000020_0a.json"), content)
    with pytest.raises(UserError, match=r"step_00000020_0a\.json is damaged .*delete it"):
        run.evaluations.read()


def test_the_best_step_compares_only_results_of_one_protocol(run):
    assert run.evaluations.best_step() is None
    for result in (_result(1, 5.0), _result(2, 4.0), _result(3, 6.0), _result(3, 1.0, images=99)):
        run.evaluations.write(result)
    assert run.evaluations.best_step() == 2
    assert run.evaluations.best_step(among=[1, 3]) == 1
    # Of as many steps, the protocol with more images counts.
    assert run.evaluations.best_step(among=[3]) == 3
    run.evaluations.write(_result(1, 0.5, images=99))
    run.evaluations.write(_result(2, 2.0, images=99))
    assert run.evaluations.best_step() == 1


def test_a_score_that_is_not_finite_is_never_the_best(run):
    for step, fid in ((1, math.nan), (2, 4.0), (3, -math.inf), (4, None)):
        run.evaluations.write(_result(step, fid))
    assert run.evaluations.best_step() == 2
    assert run.evaluations.best_step(among=[1, 3, 4]) is None
    # A card with results that are not finite is not the one that most steps have.
    for step in (1, 3):
        run.evaluations.write(_result(step, math.nan, images=99))
    run.evaluations.write(_result(2, 1.0, images=5))
    run.evaluations.write(_result(1, 2.0, images=5))
    assert run.evaluations.best_step() == 2


def test_results_of_other_checkpoints_are_excluded(run):
    own = _put_checkpoint(run, 1, b"own")
    run.evaluations.write(_result(1, 5.0, checkpoint=own))
    run.evaluations.write(_result(2, 4.0, checkpoint="0c"))
    run.evaluations.write(_result(1, 1.0, checkpoint="0d", source="elsewhere/ckpt-1"))
    run.evaluations.write(_result(2, 2.0, checkpoint="0d", source="elsewhere/ckpt-2"))
    assert [(result["step"], result["scores"]["fid"]) for result in run.evaluations.own()] == [(1, 5.0), (2, 4.0)]
    assert run.evaluations.best_step() == 2
    assert len(run.evaluations.read()) == 4


def test_merging_keeps_results_of_the_runs_own_checkpoint(run):
    """As when a backup of a checkpoint that is gone is asked for more scores."""
    run.evaluations.write(_result(1, 5.0, checkpoint="0a"))
    run.evaluations.write(_result(1, 5.0, checkpoint="0a", source="backup/ckpt-1", fid_infinity=4.0))
    (result,) = run.evaluations.own()
    assert result["fid_infinity"] == 4.0


def test_scores_of_a_replaced_checkpoint_are_excluded(run):
    """As after resuming from before a damaged checkpoint; also results that earlier versions filed wrongly."""
    _put_checkpoint(run, 1, b"first")
    run.evaluations.write(_result(1, 1.0, checkpoint=run.checkpoint_sha256(1)))
    _put_checkpoint(run, 1, b"second")
    assert run.evaluations.own() == []
    run.evaluations.write(_result(1, 5.0, checkpoint=run.checkpoint_sha256(1)))
    assert [result["scores"]["fid"] for result in run.evaluations.own()] == [5.0]


def test_the_latest_score_of_deleted_checkpoints_counts(run):
    run.evaluations.write(_result(1, 1.0, checkpoint="ff", time=1.0))
    run.evaluations.write(_result(1, 2.0, checkpoint="00", time=2.0))
    assert [result["scores"]["fid"] for result in run.evaluations.own()] == [2.0]


def test_an_unwritable_result_raises_a_failed_error(run, monkeypatch):
    def full(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(tf.io.gfile, "rename", full)
    with pytest.raises(FailedError, match=r"cannot write .*step_00000001_.*: No space left on device"):
        run.evaluations.write(_result(1, 1.0))
    assert os.listdir(run.evaluations.path) == []
