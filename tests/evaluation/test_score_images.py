import json
import os
import re

import numpy as np
import pytest
from PIL import Image

import hamgan
from hamgan.config import override
from hamgan.data.dataset import ClassificationDataset
from hamgan.errors import UserError
from hamgan.evaluation.classifier import Classifier
from hamgan.evaluation.evaluate import evaluate
from hamgan.evaluation.feature_extractor import FeatureExtractor
from hamgan.evaluation.features import FeatureStore
from hamgan.sampling.grids import to_uint8

IMAGES = np.random.default_rng(0).integers(0, 256, (60, 20, 24, 3), np.uint8)
MU, SIGMA = np.zeros(64), np.eye(64)


@pytest.fixture(scope="module")
def npz(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("images") / "images.npz")
    np.savez(path, IMAGES)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("folder")
    for index, image in enumerate(IMAGES):
        (path / str(index // 30)).mkdir(exist_ok=True)
        Image.fromarray(image).save(path / str(index // 30) / f"{index:06d}.png")
    return str(path)


@pytest.fixture
def scored(classifier_path, digits_dir, cache_dir):
    def score(fakes, reference, **options):
        common = {"classifier": classifier_path, "data_dir": digits_dir, "cache_dir": cache_dir}
        return hamgan.score(fakes, reference, **(common | options))

    return score


def test_samples_of_a_run_have_the_scores_of_an_evaluation(scored, tiny_run, trained_run, classifier_path, cache_dir):
    settings = {"num_samples": 24, "classifier": classifier_path, "cache_dir": cache_dir}
    run = hamgan.load(trained_run.path)
    (expected,) = evaluate(
        run,
        **settings,
        overrides=["evaluation.neighbors_samples=20", "data.validation_split=test[:24]", "data.train_split=test[:24]"]
        if False
        else ["evaluation.neighbors_samples=20"],
    )
    before = set(os.listdir(cache_dir))
    result = scored(run, "tfds:digits:validation[:24]", num_samples=24, neighbors_samples=20)
    for name, value in result["scores"].items():
        assert value == pytest.approx(expected["scores"][name], rel=1e-9), name
    assert result["real"]["inception_score"] == pytest.approx(expected["real"]["inception_score"])
    assert result["card"]["fakes"]["checkpoint"] == expected["checkpoint"]
    # The features of the data set are shared, those of the fakes deleted.
    assert set(os.listdir(cache_dir)) == before
