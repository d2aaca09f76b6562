import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from hamgan.config import override
from hamgan.data.dataset import ClassificationDataset
from hamgan.evaluation import evaluate
from hamgan.evaluation.classifier import Classifier
from hamgan.evaluation.evaluate import evaluate_checkpoints, table
from hamgan.evaluation.metrics import frechet_inception_distance, inception_score
from hamgan.generator_checkpoint import find_checkpoints, load_generator
from hamgan.report import write_report
from hamgan.run_directory import RunDirectory
from hamgan.sampling import Sampler
from hamgan.training.loop import train


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    run = RunDirectory(str(tmp_path_factory.mktemp("runs") / "run"))
    config = override(tiny, ["train.steps=2", "train.image_every=2", "train.checkpoint_every=2"])
    train(config, run, tf.distribute.get_strategy())
    return run


@pytest.fixture(scope="module")
def config(run, classifier_path):
    return override(run.read_config(), [f"evaluation.classifier={classifier_path}"])


@pytest.fixture(scope="module")
def results(run, config):
    return evaluate_checkpoints(config, run, find_checkpoints(run, "all"), "ema")


def test_scores_are_those_of_the_samples_against_the_validation_split(run, config, results):
    ((step, path),) = find_checkpoints(run, "latest")
    sampler = Sampler(load_generator(config, path, "ema"), seed=0, batch=24)
    labels = sampler.random_labels(24)
    classifier = Classifier(config.evaluation.classifier)
    fakes = classifier.features(zip(sampler.batches(labels), [labels], strict=True))
    dataset = ClassificationDataset(config.data)
    validation, training = (
        classifier.features(dataset.evaluation_batches(split, resolution=32, batch=24, limit=24).as_numpy_iterator())
        for split in ("validation", "train")
    )
    result = results[-1]
    assert result["step"] == step == 2
    assert result["fid"] == pytest.approx(frechet_inception_distance(validation.pool_3, fakes.pool_3), rel=1e-3)
    assert result["inception_score"] == pytest.approx(inception_score(fakes.logits), rel=1e-4)
    assert result["accuracy"] == np.mean(fakes.logits.argmax(1) == labels)
    assert result["real_inception_score"] == pytest.approx(inception_score(validation.logits), rel=1e-4)
    assert result["real_fid"] == pytest.approx(frechet_inception_distance(validation.pool_3, training.pool_3), rel=1e-3)
    assert result["counts"] == {"validation_images": 24, "train_images": 24}


def test_replicas_give_the_scores_of_one_device(run, config, results, tmp_path):
    """With 24 images in batches of 8 on three replicas: some shares are filled up."""
    copy = RunDirectory(str(tmp_path / "run"))
    shutil.copytree(run.path, copy.path)
    shutil.rmtree(copy.evaluations)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1", "CPU:2"])
    shared = evaluate_checkpoints(config, copy, find_checkpoints(copy, "latest"), "ema", strategy)[0]
    for name in ("fid", "inception_score", "real_fid", "real_inception_score"):
        assert shared[name] == pytest.approx(results[-1][name], rel=1e-3)


def test_results_are_written_and_listed(run, results):
    assert [result["step"] for result in results] == [0, 2]
    assert run.read_evaluations() == json.loads(json.dumps(results))


def test_what_was_scored_the_same_way_is_not_scored_again(run, config, results, monkeypatch):
    scored = []
    evaluator = evaluate.Evaluator

    class Counting(evaluator):
        def evaluate(self, path, weights):
            scored.append(path)
            return super().evaluate(path, weights)

    monkeypatch.setattr(evaluate, "Evaluator", Counting)
    assert evaluate_checkpoints(config, run, find_checkpoints(run, "all"), "ema") == results
    assert scored == []
    other_seed = override(config, ["evaluation.seed=5"])
    (again,) = evaluate_checkpoints(other_seed, run, find_checkpoints(run, "latest"), "ema")
    assert len(scored) == 1
    assert again["fid"] != results[-1]["fid"]
    (again,) = evaluate_checkpoints(config, run, find_checkpoints(run, "latest"), "ema")
    assert again == results[-1]


def test_accuracy_needs_a_classifier_of_the_same_classes(run, config, results):
    table_text = table([{**results[0], "accuracy": None, "real_accuracy": None}])
    header, row = table_text.splitlines()
    assert header.split()[:4] == ["step", "FID", "IS", "accuracy"]
    assert row.split()[3] == row.split()[-1] == "-"
    evaluator = object.__new__(evaluate.Evaluator)
    evaluator.config = override(config, ["model.num_classes=11"])
    features = evaluate.Features(np.zeros((3, 10)), np.zeros((3, 2)), np.zeros(3))
    assert evaluator._accuracy(features) is None


def test_the_report_is_one_file_with_curves_pictures_scores_and_config(run, results):
    write_report(run)
    with open(run.report_path) as file:
        page = file.read()
    assert page.count("<svg") == 9
    assert page.count("data:image/png;base64,") == 3
    assert f"{results[-1]['fid']:.2f}" in page
    assert "checkpoint_every" in page
    for outside in ("<script", "<link", 'src="http', "@import"):
        assert outside not in page
    write_report(run)
    with open(run.report_path) as file:
        assert file.read() == page


def test_a_report_before_the_first_step_says_so(tiny, tmp_path):
    run = RunDirectory(str(tmp_path / "run"))
    run.create(tiny)
    write_report(run)
    with open(run.report_path) as file:
        assert "Step 0 of 6" in file.read()
