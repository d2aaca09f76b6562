import json
import pathlib

import pytest

import hamgan

CARD = (pathlib.Path(__file__).parent.parent / "docs" / "digits_model_card.md").read_text()


@pytest.fixture(scope="module")
def evaluation():
    (path,) = (pathlib.Path(hamgan.load("digits").path) / "evaluations").glob("*.json")
    return json.loads(path.read_text())


def _row(name):
    (line,) = [line for line in CARD.splitlines() if line.startswith(f"| {name} |")]
    return line


def test_scores_are_those_of_the_evaluation_in_the_package(evaluation):
    scores, real = evaluation["scores"], evaluation["real"]
    assert f"| {scores['fid']:.2f} | {real['fid']:.2f} (" in _row("FID against validation images")
    assert f"| {scores['fid_train']:.2f} |" in _row("FID against training images")
    assert f"| {scores['inception_score']:.2f} | {real['inception_score']:.2f} (" in _row("Inception score")
    assert f"| {scores['accuracy']:.1%} | {real['accuracy']:.1%} (".replace("%", " %") in _row("class accuracy")
    assert f"| {scores['precision']:.2f}, {scores['recall']:.2f} |" in _row("precision, recall")
    assert f"| {scores['density']:.2f}, {scores['coverage']:.2f} |" in _row("density, coverage")


def test_numbers_of_the_network_and_its_data_are_right(evaluation):
    run = hamgan.load("digits")
    train = run.config.train
    assert f"{run.generator.count_params():,} weights" in _row("size")
    assert f"z, {run.generator.z_dim} standard normal numbers" in _row("input")
    assert f"after {train.steps:,} steps with batches of {train.global_batch}" in _row("weights")
    assert evaluation["step"] == train.steps
    images = evaluation["card"]["images"]
    assert f"{images['train']:,} for training, {images['validation']} for validation" in CARD
