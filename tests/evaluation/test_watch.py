import math
import shutil

import pytest

from hamgan.config import override
from hamgan.evaluation import watch as watch_module
from hamgan.evaluation.watch import has_ended, watch
from hamgan.runs.checkpoints import checkpoint_path
from hamgan.runs.directory import RunDirectory

# Compiling takes longer than sampling a few images; the tests of sampling compile.
pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture
def live_run(trained_run, tmp_path):
    """Returns a run of four steps without checkpoints, and functions that add and remove a checkpoint."""
    run = RunDirectory(str(tmp_path / "run"))
    run.create(override(trained_run.read_config(), ["train.steps=4"]))

    def appear(step, source=2):
        tf_files = (".data-00000-of-00001", ".index")
        for suffix in tf_files:
            target = checkpoint_path(run.checkpoints, step) + suffix
            (tmp_path / "run" / "checkpoints").mkdir(exist_ok=True)
            shutil.copy(checkpoint_path(trained_run.checkpoints, source) + suffix, target)

    def vanish(step):
        for path in (tmp_path / "run" / "checkpoints").glob(f"ckpt-{step}.*"):
            path.unlink()

    return run, appear, vanish


def _watch(evaluator, run, on_sleep, monkeypatch, timeout=math.inf):
    """Watches with ``on_sleep`` in place of pauses. Returns whether training ended, and the steps scored."""
    monkeypatch.setattr(watch_module.time, "sleep", lambda seconds: on_sleep())
    steps = []
    ended = watch(evaluator, run, "ema", timeout=timeout, scored=lambda result: steps.append(result["step"]))
    return ended, steps


def test_every_checkpoint_is_scored_once_in_order_until_training_ends(live_run, make_evaluator, monkeypatch, caplog):
    run, appear, _ = live_run
    caplog.set_level("INFO", logger="hamgan")
    logits = {"train_logits": 0.75, "validation_logits": -0.5, "generated_logits": -0.625}
    run.append_metrics([{"step": 2, **logits}, {"step": 3, **logits, "validation_logits": -0.25}])
    events = iter([lambda: appear(1), lambda: (appear(3), appear(2)), lambda: None, lambda: appear(4)])
    ended, steps = _watch(make_evaluator(), run, lambda: next(events)(), monkeypatch)
    said = [record.getMessage() for record in caplog.records if "Mean logits" in record.getMessage()]
    assert said == [
        f"Mean logits at step {step}: training images 0.750, validation images {value}, generated images -0.625"
        for step, value in ((2, "-0.500"), (3, "-0.250"), (3, "-0.250"))  # Nothing was logged by step 1.
    ]
    assert (ended, steps) == (True, [1, 2, 3, 4])
    assert [result["step"] for result in run.evaluations.read()] == [1, 2, 3, 4]
    assert run.evaluations.best_step() in (1, 2, 3, 4)


@pytest.mark.slow
def test_a_restarted_watch_scores_only_the_remaining_checkpoints(live_run, make_evaluator, monkeypatch):
    run, appear, _ = live_run
    appear(1)
    events = iter([lambda: appear(2), lambda: 1 / 0])
    with pytest.raises(ZeroDivisionError):
        _watch(make_evaluator(), run, lambda: next(events)(), monkeypatch)
    appear(4, source=0)
    evaluated = []
    evaluator = make_evaluator()
    evaluate_one = evaluator.evaluate
    monkeypatch.setattr(
        evaluator, "evaluate", lambda path, weights: evaluated.append(path) or evaluate_one(path, weights)
    )
    ended, steps = _watch(evaluator, run, lambda: 1 / 0, monkeypatch)
    assert (ended, steps) == (True, [1, 2, 4])
    assert evaluated == [checkpoint_path(run.checkpoints, 4)]


@pytest.mark.slow
def test_deleted_and_damaged_checkpoints_are_skipped(live_run, make_evaluator, monkeypatch, caplog):
    run, appear, vanish = live_run
    evaluator = make_evaluator()
    evaluate_one = evaluator.evaluate

    def vanishing(path, weights):
        if path.endswith("ckpt-1"):
            vanish(1)
        return evaluate_one(path, weights)

    monkeypatch.setattr(evaluator, "evaluate", vanishing)
    for step in (1, 2, 4):
        appear(step)
    data = checkpoint_path(run.checkpoints, 2) + ".data-00000-of-00001"
    with open(data, "r+b") as file:
        file.truncate(100)
    ended, steps = _watch(evaluator, run, lambda: 1 / 0, monkeypatch)
    assert (ended, steps) == (True, [4])
    assert "Step 1 is skipped: it was deleted meanwhile" in caplog.text
    assert "Step 2 is skipped: checkpoint" in caplog.text


def test_the_watch_ends_after_the_timeout(live_run, make_evaluator, monkeypatch):
    run, appear, _ = live_run
    appear(1)
    clock = [0.0]
    monkeypatch.setattr(watch_module.time, "monotonic", lambda: clock[0])

    def pause():
        clock[0] += 40.0

    assert _watch(make_evaluator(), run, pause, monkeypatch, timeout=100.0) == (False, [1])
    assert clock[0] == 120.0


def _collapse(action, resumed_from):
    return {"step": resumed_from + 1, "what": "a loss is nan", "action": action, "resumed_from": resumed_from}


def test_a_collapse_that_stops_training_ends_the_run(live_run):
    run, _, _ = live_run
    assert not has_ended(run)
    run.write_collapses([_collapse("rollback", 1)])
    assert not has_ended(run)
    run.append_metrics([{"step": 2}])
    run.write_collapses([_collapse("rollback", 1), _collapse("stop", 2)])
    assert has_ended(run)


def test_a_collapse_that_training_resumed_from_does_not_end_the_run(live_run):
    run, appear, _ = live_run
    run.write_collapses([_collapse("resumed", 2)])
    assert not has_ended(run)
    # Earlier versions kept "stop" here: later steps in the log show that training resumed.
    run.write_collapses([_collapse("stop", 2)])
    run.append_metrics([{"step": 2}, {"step": 3}])
    assert not has_ended(run)
    # The run may collapse again and still reach its last step.
    run.write_collapses([_collapse("resumed", 2), _collapse("stop", 3)])
    assert has_ended(run)
    run.write_collapses([_collapse("resumed", 2), _collapse("resumed", 3)])
    appear(4)
    assert has_ended(run)
