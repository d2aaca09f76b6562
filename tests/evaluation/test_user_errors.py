"""Errors of users are reported in one line, before any work."""

import os
import shutil

import numpy as np
import pytest
import tensorflow as tf

from hamgan.cli.main import main
from hamgan.config import override
from hamgan.errors import UserError
from hamgan.evaluation import evaluator as evaluator_module
from hamgan.evaluation.evaluator import Evaluator
from hamgan.runs.directory import RunDirectory
from hamgan.sampling.trained_weights import find_checkpoints


@pytest.fixture
def without_classifier(monkeypatch):
    """Fails if the classifier is loaded, which is the first step of the work."""
    monkeypatch.setattr(evaluator_module, "Classifier", None)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.validation_split=validation[:0]"], r"split 'validation\[:0\]' of data set 'digits' is empty; choose"),
        (["data.train_split=train[:1]"], r"split 'train\[:1\]' of data set 'digits' has 1 image; FID and IS expect"),
        (
            ["data.validation_split=validation[:5]"],
            r"precision and recall expect more than 5 images of each side, found 5; override evaluation.neighbors",
        ),
        (["evaluation.num_samples=5"], "more than 5 images of each side, found 5"),
        (["evaluation.neighbors_samples=3"], "more than 5 images of each side, found 3"),
        # Images that count twice are not used as neighbours.
        (["data.validation_split=validation[:5]", "evaluation.wrap_validation=true"], "of each side, found 5"),
        (
            ["evaluation.num_samples=2", "evaluation.neighbors_samples=0", "evaluation.fid_infinity=true"],
            "evaluation.fid_infinity expects more than 2 fakes, found evaluation.num_samples=2",
        ),
    ],
)
def test_too_few_images_are_reported_before_any_work(
    evaluation_config, cache_dir, without_classifier, overrides, message
):
    with pytest.raises(UserError, match=message):
        Evaluator(override(evaluation_config, overrides), None, cache_dir)


def test_the_smallest_splits_are_scored(trained_run, evaluation_config, tmp_path):
    """Two images per split, and three fakes."""
    splits = ["data.validation_split=validation[:2]", "data.train_split=train[:2]"]
    settings = ["num_samples=3", "neighbors_samples=0", "fid_infinity=true", "bootstrap=2", "batch=2"]
    config = override(evaluation_config, [*splits, *(f"evaluation.{setting}" for setting in settings)])
    evaluator = Evaluator(config, None, str(tmp_path))
    (checkpoint,) = find_checkpoints(trained_run, "latest")
    result = evaluator.evaluate(checkpoint[1], "ema")
    assert np.isfinite(result["scores"]["fid"])
    assert np.isfinite(result["fid_infinity"])


def test_a_failing_classifier_is_a_one_line_error(evaluation_config, tmp_path):
    """The signature declares any batch size, but the graph accepts only one image."""

    class OneByOne(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 32, 32, 3))])
        def __call__(self, images):
            features = tf.ensure_shape(tf.reshape(images, (1, -1)), (1, 32 * 32 * 3))
            return {"logits": features, "pool_3": features}

    path = str(tmp_path / "classifier")
    module = OneByOne()
    tf.saved_model.save(module, path, signatures=module.__call__)
    config = override(evaluation_config, [f"evaluation.classifier={path}"])
    with pytest.raises(UserError, match=r"classifier .* cannot classify 8 images of 32x32 pixels: ") as raised:
        Evaluator(config, None, str(tmp_path)).real_scores()
    assert len(str(raised.value).splitlines()) == 1


def test_non_finite_features_of_real_images_are_rejected(evaluation_config, tmp_path):
    class Infinite(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 32, 32, 3))])
        def __call__(self, images):
            features = tf.reduce_mean(images, (1, 2)) / 0.0
            return {"logits": features, "pool_3": features}

    path = str(tmp_path / "classifier")
    module = Infinite()
    tf.saved_model.save(module, path, signatures=module.__call__)
    config = override(evaluation_config, [f"evaluation.classifier={path}"])
    with pytest.raises(UserError, match=r"returns values that are not finite for the real images of split 'valid"):
        Evaluator(config, None, str(tmp_path)).real_scores()


def _fails_with(capsys, arguments, message):
    capsys.readouterr()
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line


@pytest.fixture
def run(trained_run, tmp_path):
    run = RunDirectory(str(tmp_path / "run"))
    shutil.copytree(trained_run.path, run.path)
    return run


def test_an_unwritable_run_is_reported_before_any_work(run, without_classifier, capsys):
    with open(run.evaluations.path, "w"):
        pass
    _fails_with(capsys, ["evaluate", "--run", run.path], f"cannot write the run folder {run.path}")


def test_a_damaged_result_is_reported_before_any_work(run, without_classifier, capsys):
    os.makedirs(run.evaluations.path)
    path = os.path.join(run.evaluations.path, "step_00000001_0a.json")
    with open(path, "w") as file:
        file.write('{"step": 1, "scores": {}}')
    _fails_with(capsys, ["evaluate", "--run", run.path], f"{path} is damaged")


def test_a_failing_file_system_is_reported_before_any_work(run, without_classifier, monkeypatch, capsys):
    """As on a read-only mount, access bits do not show the problem."""

    def refuse(folder):
        raise tf.errors.FailedPreconditionError(None, None, f"{folder}; Read-only file system")

    monkeypatch.setattr("hamgan.runs.directory.check_writable", refuse)
    _fails_with(capsys, ["evaluate", "--run", run.path], f"cannot write the run folder {run.path}: ")


@pytest.mark.slow
def test_folders_with_pattern_characters_work(trained_run, classifier_path, tmp_path, capsys):
    folder = tmp_path / "runs[1]*"
    run = shutil.copytree(trained_run.path, folder / "run?")
    classifier = shutil.copytree(classifier_path, folder / "classifier[2]")
    arguments = ["--run", str(run), "--classifier", str(classifier), "--cache_dir", str(folder / "cache[3]")]
    arguments += ["--checkpoint", str(run / "checkpoints" / "ckpt-2"), "--override", "evaluation.neighbors_samples=0"]
    assert main(["evaluate", *arguments]) == 0
    assert RunDirectory(str(run)).evaluations.best_step() == 2
    picture = folder / "grid[4].png"
    assert main(["sample", "--run", str(run), "--out", str(picture), "--per_class", "1"]) == 0
    assert picture.exists()
    capsys.readouterr()
