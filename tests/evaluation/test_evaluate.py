import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from hamgan.config import protocols, to_json
from hamgan.data.dataset import ClassificationDataset
from hamgan.errors import UserError
from hamgan.evaluation import evaluate
from hamgan.evaluation.classifier import Classifier
from hamgan.evaluation.evaluate import evaluate_checkpoints
from hamgan.evaluation.features import FeatureStore
from hamgan.evaluation.fid import frechet_inception_distance
from hamgan.evaluation.inception_score import inception_score
from hamgan.evaluation.kid import kernel_inception_distance
from hamgan.evaluation.neighbors import precision_recall_density_coverage
from hamgan.runs.directory import RunDirectory
from hamgan.runs.report import write_report
from hamgan.runs.score_table import table
from hamgan.sampling.sampler import Sampler
from hamgan.sampling.trained_weights import find_checkpoints, load_generator

# Compiling takes longer than sampling a few images; the tests of sampling compile.
pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture(scope="module")
def run(trained_run, tmp_path_factory):
    """Returns a copy of the run for the results of this module."""
    copy = RunDirectory(str(tmp_path_factory.mktemp("copy") / "run"))
    shutil.copytree(trained_run.path, copy.path)
    return copy


def _stores(cache_dir):
    """Returns the folders of stored features, and whether each holds real images."""
    contents = {path.parent: json.loads(path.read_text())["content"] for path in cache_dir.glob("*/progress.json")}
    return {folder: "real" in content for folder, content in contents.items()}


@pytest.fixture(scope="module")
def results_and_stores(run, evaluation_config, cache_dir):
    """Returns the results of all checkpoints, and the stores before and after."""
    before = _stores(pathlib.Path(cache_dir))
    evaluator = evaluate.Evaluator(evaluation_config, None, cache_dir)
    results = evaluate_checkpoints(evaluator, run, find_checkpoints(run, "all"), "ema")
    return results, before, _stores(pathlib.Path(cache_dir))


@pytest.fixture(scope="module")
def results(results_and_stores):
    return results_and_stores[0]


def _real_features(config, split, count):
    classifier = Classifier(config.evaluation.classifier)
    batches = ClassificationDataset(config.data).evaluation_batches(split, resolution=32, batch=24, last=count)
    (outputs,) = [
        {name: value.numpy() for name, value in classifier(tf.constant(images)).items()} for images, _ in batches
    ]
    return outputs


def test_scores_match_direct_computation_from_samples_and_real_images(run, evaluation_config, results):
    ((step, path),) = find_checkpoints(run, "latest")
    sampler = Sampler(load_generator(evaluation_config, path, "ema"), seed=0, batch=24)
    labels = sampler.random_labels(24)
    (images,) = sampler.batches(labels)
    fakes = {name: value.numpy() for name, value in Classifier(evaluation_config.evaluation.classifier)(images).items()}
    validation, train = (_real_features(evaluation_config, split, 24) for split in ("validation", "train"))
    result = results[-1]
    scores = result["scores"]
    assert result["step"] == step == 2
    # 24 images in 64 dimensions: the covariances are singular, and the distance depends on rounding.
    assert scores["fid"] == pytest.approx(frechet_inception_distance(validation["pool_3"], fakes["pool_3"]), rel=1e-3)
    assert scores["fid_train"] == pytest.approx(frechet_inception_distance(train["pool_3"], fakes["pool_3"]), rel=1e-3)
    assert scores["inception_score"] == pytest.approx(inception_score(fakes["logits"]), rel=1e-4)
    kid, _ = kernel_inception_distance(validation["pool_3"], fakes["pool_3"])
    assert scores["kid"] == pytest.approx(kid, rel=1e-4)
    assert scores["accuracy"] == np.mean(fakes["logits"].argmax(1) == labels)
    neighbors = precision_recall_density_coverage(validation["pool_3"][:20], fakes["pool_3"][:20])
    assert {name: scores[name] for name in neighbors} == neighbors
    assert result["real"]["inception_score"] == pytest.approx(inception_score(validation["logits"]), rel=1e-4)
    expected = frechet_inception_distance(validation["pool_3"], train["pool_3"])
    assert result["real"]["fid"] == pytest.approx(expected, rel=1e-3)


def test_the_card_records_how_a_result_was_made(run, evaluation_config, results):
    card = results[-1]["card"]
    assert card["protocol"] == describe_tiny(evaluation_config)
    assert card["images"] == {"fake": 24, "validation": 24, "train": 24, "neighbors": 20}
    assert (card["weights"], card["batch_norm"], card["truncation"], card["seed"]) == ("ema", "moving", None, 0)
    assert card["classifier"]["sha256"] == Classifier(evaluation_config.evaluation.classifier).sha256
    assert card["validation"]["examples"] == 355
    provenance = results[-1]["provenance"]
    assert provenance["versions"]["tensorflow"] == tf.__version__
    assert provenance["batch"] == 8
    assert provenance["data"]["validation"]["folder"].startswith(evaluation_config.data.data_dir)
    assert len({result["card_id"] for result in results}) == 1


def describe_tiny(config):
    settings = config.evaluation
    return f"standard with classifier={settings.classifier}, num_samples=24, neighbors_samples=20"


@pytest.mark.slow
def test_the_card_needs_and_names_class_counts_if_labels_are_not_uniform(make_evaluator, results):
    evaluator = make_evaluator("train.label_distribution=dataset")
    with pytest.raises(ValueError, match=r"train.label_distribution 'dataset' requires class_counts"):
        evaluator.card("raw")
    cards = []
    for counts in ([1] * 10, [1] * 9 + [2]):
        evaluator.class_counts = counts
        cards.append(evaluator.card("raw"))
    uniform = make_evaluator().card("raw")
    assert "label_distribution" not in uniform
    assert len({protocols.card_id(card) for card in (uniform, *cards)}) == 3
    assert [{**card, "label_distribution": None} for card in cards] == [{**uniform, "label_distribution": None}] * 2


def test_replicas_give_the_scores_of_one_device(run, make_evaluator, results, tmp_path):
    """24 images in batches of 8 on three replicas: some shares are padded."""
    copy = RunDirectory(str(tmp_path / "run"))
    shutil.copytree(run.path, copy.path)
    shutil.rmtree(copy.evaluations.path)
    evaluator = make_evaluator(strategy=tf.distribute.MirroredStrategy(["CPU:0", "CPU:1", "CPU:2"]))
    (shared,) = evaluate_checkpoints(evaluator, copy, find_checkpoints(copy, "latest"), "ema")
    assert shared["card"] == results[-1]["card"]
    for name in ("inception_score", "kid", "accuracy"):
        assert shared["scores"][name] == pytest.approx(results[-1]["scores"][name], rel=1e-5)
    assert shared["scores"]["fid"] == pytest.approx(results[-1]["scores"]["fid"], rel=1e-3)


WORKER = """
import sys
from hamgan.config import experiment_from_json
from hamgan.distribution.strategies import create_strategy
from hamgan.evaluation.evaluate import Evaluator, evaluate_checkpoints
from hamgan.sampling.trained_weights import find_checkpoints
from hamgan.runs.directory import RunDirectory

strategy = create_strategy("cpu")
run = RunDirectory(sys.argv[2])
evaluator = Evaluator(experiment_from_json(open(sys.argv[1]).read(), "test"), strategy, sys.argv[3])
print(len(evaluate_checkpoints(evaluator, run, find_checkpoints(run, "all"), "ema")))
"""


@pytest.mark.slow
def test_two_processes_give_the_scores_of_one(run, evaluation_config, results, tmp_path, free_ports):
    config_path = tmp_path / "config.json"
    config_path.write_text(to_json(evaluation_config))
    copy = RunDirectory(str(tmp_path / "run"))
    shutil.copytree(run.path, copy.path)
    shutil.rmtree(copy.evaluations.path)
    cluster = {"worker": [f"localhost:{port}" for port in free_ports(2)]}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(config_path), copy.path, str(tmp_path / f"cache{index}")],
            env={
                **os.environ,
                "TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}}),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    said = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert [out.split()[-1] for out, _ in said] == ["2", "0"]
    _, shared = copy.evaluations.read()
    assert shared["card"] == results[-1]["card"]
    for name in ("inception_score", "kid", "accuracy"):
        assert shared["scores"][name] == pytest.approx(results[-1]["scores"][name], rel=1e-5)
    # The other worker stores no features.
    assert not (tmp_path / "cache1").exists()


def test_results_are_written_and_listed(run, results):
    assert [result["step"] for result in results] == [0, 2]
    assert run.evaluations.read() == json.loads(json.dumps(results))


def test_results_with_the_same_card_are_reused(run, make_evaluator, results, monkeypatch):
    scored = []
    evaluate_one = evaluate.Evaluator.evaluate
    monkeypatch.setattr(
        evaluate.Evaluator,
        "evaluate",
        lambda self, path, weights: scored.append(path) or evaluate_one(self, path, weights),
    )
    assert evaluate_checkpoints(make_evaluator(), run, find_checkpoints(run, "all"), "ema") == results
    assert scored == []
    latest = find_checkpoints(run, "latest")
    (other,) = evaluate_checkpoints(make_evaluator("evaluation.seed=5"), run, latest, "ema")
    assert len(scored) == 1
    assert other["scores"]["fid"] != results[-1]["scores"]["fid"]
    assert evaluate_checkpoints(make_evaluator(), run, latest, "ema") == results[-1:]
    assert len(scored) == 1
    # A request for more scores recomputes the result, which then also serves requests for fewer.
    asks_for_more = make_evaluator("evaluation.bootstrap=3", "evaluation.intra_classes=2", "evaluation.num_samples=200")
    (more,) = evaluate_checkpoints(asks_for_more, run, latest, "ema")
    assert more["standard_errors"]["fid"] > 0
    assert list(more["intra_fid"]) == ["2"]
    assert table([more]).splitlines()[-1] == f"FID of class 2, step 2: {more['intra_fid']['2']:.2f}"
    assert evaluate_checkpoints(make_evaluator("evaluation.num_samples=200"), run, latest, "ema") == [more]
    assert len(scored) == 2


@pytest.mark.slow
def test_a_killed_evaluation_resumes_and_gives_the_same_scores(run, make_evaluator, results, tmp_path, monkeypatch):
    copy = RunDirectory(str(tmp_path / "run"))
    shutil.copytree(run.path, copy.path)
    shutil.rmtree(copy.evaluations.path)
    latest = find_checkpoints(copy, "latest")
    evaluator = make_evaluator()
    made = []

    class Killed(BaseException):
        pass

    append = FeatureStore.append

    def append_and_die(self, *arrays):
        append(self, *arrays)
        self.save()
        made.append(len(arrays[-1]))
        if len(made) == 2:
            raise Killed

    monkeypatch.setattr(FeatureStore, "append", append_and_die)
    with pytest.raises(Killed):
        evaluate_checkpoints(evaluator, copy, latest, "ema")
    assert copy.evaluations.read() == []
    (result,) = evaluate_checkpoints(make_evaluator(), copy, latest, "ema")
    assert made == [8, 8, 8]
    assert result["scores"] == results[-1]["scores"]


def test_real_features_are_computed_once(run, make_evaluator, results, monkeypatch):
    monkeypatch.setattr(ClassificationDataset, "evaluation_batches", None)
    make_evaluator("evaluation.seed=9")
    assert make_evaluator("evaluation.seed=9").real_scores() == results[-1]["real"]


def test_features_of_fakes_are_deleted_once_the_result_is_written(results_and_stores):
    _, before, after = results_and_stores
    assert any(after.values())
    # Other tests share the folder and may have left fakes there.
    assert all(is_real for folder, is_real in after.items() if folder not in before)


@pytest.mark.slow
def test_repeats_use_different_fakes_and_are_averaged(run, make_evaluator, results):
    evaluator = make_evaluator("evaluation.repeats=2", "evaluation.wrap_validation=true", "evaluation.num_samples=360")
    assert evaluator.validation_count == 360
    (result,) = evaluate_checkpoints(evaluator, run, find_checkpoints(run, "latest"), "ema")
    first, second = (scores["fid"] for scores in result["repeats"])
    assert first != second
    assert result["scores"]["fid"] == pytest.approx((first + second) / 2)
    assert result["spread"]["fid"] == pytest.approx(abs(first - second) / 2**0.5)
    # 5 of the 355 count twice.
    assert result["card"]["images"]["validation"] == 360
    assert "±" in table([result])


def test_cards_name_fixed_bases_and_stay_as_they_were_for_random_ones(make_evaluator):
    fixed, random = (make_evaluator(*overrides).card("ema") for overrides in (["evaluation.bases=fixed"], []))
    assert fixed.pop("bases") == "fixed"
    assert {**fixed, "protocol": None} == {**random, "protocol": None}


@pytest.mark.slow
def test_truncation_and_batch_norm_modes_give_separate_results(run, make_evaluator, results):
    latest = find_checkpoints(run, "latest")
    evaluator = make_evaluator()
    sweep = [evaluate_checkpoints(evaluator.at_truncation(value), run, latest, "ema")[0] for value in (0.2, 1.0)]
    assert [result["card"]["truncation"] for result in sweep] == [0.2, 1.0]
    modes = [
        evaluate_checkpoints(make_evaluator(f"evaluation.batch_norm={mode}"), run, latest, "ema")[0]
        for mode in ("batch", "standing")
    ]
    assert [result["card"]["batch_norm"] for result in modes] == [
        "batch (each batch of 8)",
        "standing (16 batches of 8)",
    ]
    everything = [*sweep, *modes, results[-1]]
    assert len({result["card_id"] for result in everything}) == 5
    assert len({result["scores"]["fid"] for result in everything}) == 5
    write_report(run)
    with open(run.report_path) as file:
        page = file.read()
    assert "Inception score over FID, by truncation" in page
    assert table(sweep).splitlines()[0].split()[:2] == ["step", "truncation"]


def test_classes_with_too_few_images_are_named(run, make_evaluator):
    with pytest.raises(UserError, match=r"evaluation.intra_classes: .*class 3"):
        evaluate_checkpoints(
            make_evaluator("evaluation.intra_classes=3", "evaluation.num_samples=2", "evaluation.neighbors_samples=0"),
            run,
            find_checkpoints(run, "latest"),
            "ema",
        )


def test_accuracy_needs_a_classifier_with_the_same_classes(results):
    result = {**results[0], "scores": {**results[0]["scores"], "accuracy": None}}
    header = table([result]).splitlines()[0]
    assert header.split()[:5] == ["step", "FID", "FID", "train", "IS"]
    assert "accuracy" not in header
    assert "accuracy" in table(results).splitlines()[0]


def test_the_report_is_a_single_file_with_curves_pictures_scores_and_cards(run, results):
    write_report(run)
    with open(run.report_path) as file:
        page = file.read()
    # The newest samples, training images beside them, and samples over time.
    assert page.count("data:image/png;base64,") == 4
    assert "Training images of the same classes" in page
    assert f"hamgan explore --run {run.path}" in page
    assert f"{results[-1]['scores']['fid']:.2f}" in page
    assert results[-1]["card"]["classifier"]["sha256"] in page
    assert "checkpoint_every" in page
    for outside in ("<script", "<link", 'src="http', "@import"):
        assert outside not in page
    write_report(run)
    with open(run.report_path) as file:
        assert file.read() == page
    with open(run.explorer_path, "w") as file:
        file.write("<!doctype html>")
    write_report(run)
    with open(run.report_path) as file:
        assert '<a href="explorer.html">' in file.read()


def test_results_with_different_cards_get_separate_curves(results, tmp_path, evaluation_config):
    run = RunDirectory(str(tmp_path / "run"))
    run.create(evaluation_config)
    for step, seed in ((1, 0), (2, 0), (2, 1)):
        run.evaluations.write({**results[0], "step": step, "card": {**results[0]["card"], "seed": seed}})
    write_report(run)
    with open(run.report_path) as file:
        page = file.read()
    ids = {result["card"]["seed"]: result["card_id"] for result in run.evaluations.read()}
    for seed, card_id in ids.items():
        assert f"ema weights, seed {seed} [{card_id}]" in page


def test_a_report_before_the_first_step_says_so(tiny, tmp_path):
    run = RunDirectory(str(tmp_path / "run"))
    run.create(tiny)
    write_report(run)
    with open(run.report_path) as file:
        assert "Step 0 of 6" in file.read()


def test_a_wrong_truncation_is_refused_before_anything_is_classified(trained_run, classifier_path, tmp_path):
    arguments = {"classifier": classifier_path, "num_samples": 20, "cache_dir": str(tmp_path)}
    with pytest.raises(UserError, match=r"truncation must be positive, found -1\.0"):
        evaluate.evaluate(trained_run.path, truncations=[-1.0], **arguments)
    assert not list(tmp_path.rglob("pool_3*"))
