"""The identity of results: which checkpoint they describe, and when an earlier result is reused."""

import copy
import dataclasses
import json
import math
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf

from hamgan.data.dataset import ClassificationDataset
from hamgan.evaluation import evaluator as evaluator_module
from hamgan.evaluation.evaluate import evaluate_checkpoints
from hamgan.evaluation.evaluator import Evaluator
from hamgan.runs.checkpoints import checkpoint_path
from hamgan.runs.directory import RunDirectory
from hamgan.runs.evaluation_results import key_of
from hamgan.runs.report import write_report
from hamgan.runs.score_table import table
from hamgan.sampling.trained_weights import find_checkpoints


@pytest.fixture(scope="module")
def evaluator(evaluation_config, cache_dir):
    """Returns one evaluator for all tests, which compiles once."""
    return Evaluator(evaluation_config, None, cache_dir)


def _asking(evaluator, **settings):
    """Returns a copy of the evaluator with changed settings."""
    other = copy.copy(evaluator)
    other.settings = dataclasses.replace(evaluator.settings, **settings)
    other.config = dataclasses.replace(evaluator.config, evaluation=other.settings)
    other.intra_classes = [int(settings["intra_classes"])] if "intra_classes" in settings else []
    return other


@pytest.fixture
def run(trained_run, tmp_path):
    run = RunDirectory(str(tmp_path / "run"))
    shutil.copytree(trained_run.path, run.path)
    return run


@pytest.fixture
def scored(monkeypatch):
    """Returns a list that collects the paths of checkpoints that are scored instead of reused."""
    paths = []
    evaluate_one = Evaluator.evaluate
    monkeypatch.setattr(
        Evaluator,
        "evaluate",
        lambda self, path, weights: paths.append(path) or evaluate_one(self, path, weights),
    )
    return paths


def _evaluate(evaluator, run, which="latest"):
    return evaluate_checkpoints(evaluator, run, find_checkpoints(run, which), "ema")


def _other_checkpoint(run, tmp_path, step=2):
    """Returns another checkpoint of the same networks, with the name of a checkpoint of the run."""
    path = str(tmp_path / "elsewhere" / f"ckpt-{step}")
    os.makedirs(os.path.dirname(path))
    source = checkpoint_path(run.checkpoints, 0)
    for suffix in (".index", ".data-00000-of-00001"):
        shutil.copy(source + suffix, path + suffix)
    return path


def test_a_checkpoint_of_another_run_is_not_added_to_the_curves(run, evaluator, tmp_path):
    own = _evaluate(evaluator, run, "all")
    best = run.evaluations.best_step()
    path = _other_checkpoint(run, tmp_path)
    (other,) = _evaluate(evaluator, run, path)
    assert other["source"] == path
    assert other["step"] == own[-1]["step"] == 2
    assert other["scores"]["fid"] != own[-1]["scores"]["fid"]
    assert [key_of(result) for result in run.evaluations.own()] == [key_of(result) for result in own]
    assert run.evaluations.best_step() == best
    assert table([other]).splitlines()[-1] == f"* {path}: not this run's checkpoint, and on none of its curves"
    write_report(run)
    with open(run.report_path) as file:
        assert path in file.read()


def test_a_checkpoint_of_the_run_is_recognised_at_any_path(run, evaluator, scored, tmp_path):
    (own,) = _evaluate(evaluator, run)
    backup = shutil.copytree(run.checkpoints, tmp_path / "backup")
    assert _evaluate(evaluator, run, str(backup / "ckpt-2")) == [own]
    assert len(scored) == 1


def test_a_result_counts_once_its_checkpoint_belongs_to_the_run(run, evaluator, scored, tmp_path):
    backup = shutil.copytree(run.checkpoints, tmp_path / "backup")
    shutil.rmtree(run.checkpoints)
    (result,) = _evaluate(evaluator, run, str(backup / "ckpt-2"))
    assert result["source"] == str(backup / "ckpt-2")
    assert run.evaluations.best_step() is None
    shutil.copytree(backup, run.checkpoints)
    (own,) = _evaluate(evaluator, run)
    assert own["source"] is None
    assert run.evaluations.best_step() == 2
    assert len(scored) == 1


@pytest.mark.slow
def test_additional_scores_keep_existing_ones(run, make_evaluator, scored):
    evaluator = make_evaluator("evaluation.num_samples=200", "evaluation.neighbors_samples=0")
    (first,) = _evaluate(_asking(evaluator, intra_classes="2"), run)
    (second,) = _evaluate(_asking(evaluator, fid_infinity=True), run)
    assert second["fid_infinity"] is not None
    assert second["intra_fid"] == first["intra_fid"]
    assert _evaluate(_asking(evaluator, fid_infinity=True, intra_classes="2"), run) == [second]
    assert len(scored) == 2
    assert run.evaluations.read() == [second]


def _diverge(config, path, weights, generator=None):
    generator = LOAD(config, path, weights, generator)
    generator.weights[0].assign(tf.fill(generator.weights[0].shape, math.nan))
    return generator


LOAD = evaluator_module.load_generator


@pytest.mark.slow
@pytest.mark.parametrize("asked", [{}, {"bootstrap": 2, "fid_infinity": True, "intra_classes": "2"}])
def test_a_diverged_generator_is_scored_but_not_ranked(run, evaluator, monkeypatch, asked):
    monkeypatch.setattr(evaluator_module, "load_generator", _diverge)
    (result,) = _evaluate(_asking(evaluator, **asked), run)
    assert all(math.isnan(value) for value in result["scores"].values())
    assert result["scores"].keys() >= {"fid", "inception_score", "kid", "precision", "accuracy"}
    assert "nan" in table([result])
    assert run.evaluations.best_step() is None
    write_report(run)
    monkeypatch.undo()
    (finite,) = _evaluate(evaluator, run, "0")
    assert np.isfinite(finite["scores"]["fid"])
    assert run.evaluations.best_step() == 0
    write_report(run)


def _as_written_before(result, described):
    """Returns a result in the format of earlier versions: a card with versions and digests of descriptions only."""
    card = {**result["card"], "versions": {"numpy": "2.4.6"}}
    for split, sha256 in described.items():
        card[split] = {**card[split], "sha256": sha256}
    kept = {name: value for name, value in result.items() if name not in ("provenance", "source", "time", "card")}
    return {**kept, "card": card, "card_id": "f881a5c0"}


def _described(evaluator):
    data = evaluator.provenance()["data"]
    return {split: data[split]["described_sha256"] for split in ("validation", "train")}


def _write_before(run, result, described):
    path = os.path.join(run.evaluations.path, f"step_{result['step']:08d}_f881a5c0.json")
    os.makedirs(run.evaluations.path, exist_ok=True)
    with open(path, "w") as file:
        json.dump(_as_written_before(result, described), file)


@pytest.mark.slow
def test_results_of_earlier_versions_share_the_curve_and_are_reused(run, evaluator, scored):
    results = _evaluate(evaluator, run, "all")
    shutil.rmtree(run.evaluations.path)
    _write_before(run, results[0], _described(evaluator))
    # Only step 2 is evaluated now.
    scored.clear()
    both = _evaluate(evaluator, run, "all")
    assert scored == [checkpoint_path(run.checkpoints, 2)]
    assert len({result["card_id"] for result in both}) == 1
    assert len({result["card_id"] for result in run.evaluations.own()}) == 1
    expected = min(results, key=lambda result: result["scores"]["fid"])["step"]
    assert run.evaluations.best_step() == expected
    write_report(run)
    # Additional scores of an earlier result are merged into one file.
    (more,) = _evaluate(_asking(evaluator, fid_infinity=True), run, "0")
    assert more["fid_infinity"] is not None
    assert len(os.listdir(run.evaluations.path)) == 2


def test_results_of_earlier_versions_of_other_data_are_scored_again(run, evaluator, scored):
    (result,) = _evaluate(evaluator, run)
    shutil.rmtree(run.evaluations.path)
    _write_before(run, result, {"validation": "d1", "train": "d2"})
    (again,) = _evaluate(evaluator, run)
    assert len(scored) == 2
    assert len({result["card_id"] for result in run.evaluations.read()}) == 2
    assert again["card_id"] == result["card_id"]


@pytest.mark.slow
def test_data_prepared_again_with_other_contents_is_scored_again(run, evaluator, make_evaluator, scored, monkeypatch):
    """Name, sizes and files are equal; only the digest of the contents differs."""
    (before,) = _evaluate(evaluator, run)
    identity = ClassificationDataset.identity

    def of_other_contents(self, split, *arguments):
        return {**identity(self, split, *arguments), "sha256": f"other {split}"}

    monkeypatch.setattr(ClassificationDataset, "identity", of_other_contents)
    read = []
    evaluation_batches = ClassificationDataset.evaluation_batches
    monkeypatch.setattr(
        ClassificationDataset,
        "evaluation_batches",
        lambda self, split, **options: read.append(split) or evaluation_batches(self, split, **options),
    )
    (after,) = _evaluate(make_evaluator(), run)
    assert len(scored) == 2
    assert read == ["validation", "train"]
    assert after["card_id"] != before["card_id"]


def test_equal_contents_at_another_path_are_equal(run, evaluator, make_evaluator, scored, tiny, tmp_path):
    """With another folder and other package versions, the curve is the same and the real features are reused."""
    (before,) = _evaluate(evaluator, run)
    elsewhere = shutil.copytree(tiny.data.data_dir, tmp_path / "elsewhere")
    there = make_evaluator(f"data.data_dir={elsewhere}")
    there.dataset.evaluation_batches = None
    assert there.real_scores() == before["real"]
    assert _evaluate(there, run) == [before]
    assert len(scored) == 1


def test_the_digest_covers_only_the_images_used(make_evaluator, monkeypatch):
    asked = []
    identity = ClassificationDataset.identity
    monkeypatch.setattr(
        ClassificationDataset,
        "identity",
        lambda self, split, count, cache_dir: asked.append((split, count)) or identity(self, split, count, cache_dir),
    )
    make_evaluator("evaluation.num_samples=30").card("ema")
    assert asked == [("validation", 30), ("train", 30)]
