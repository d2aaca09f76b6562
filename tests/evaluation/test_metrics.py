import numpy as np
import pytest

from hamgan.evaluation.metrics import class_conditional_accuracy, frechet_inception_distance, inception_score


def test_fid_of_shifted_features_is_the_squared_shift():
    features = np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32)
    assert frechet_inception_distance(features, features) == pytest.approx(0, abs=1e-3)
    assert frechet_inception_distance(features, features + np.float32(2.0)) == pytest.approx(4 * 5, rel=1e-4)


def test_inception_score_runs_from_one_to_the_number_of_classes():
    assert inception_score(np.tile(np.float32([1, 2, 3]), (6, 1))) == pytest.approx(1, abs=1e-6)
    assert inception_score(50 * np.tile(np.eye(3, dtype=np.float32), (4, 1))) == pytest.approx(3, abs=1e-4)


def test_accuracy_is_the_share_of_labels_asked_for():
    logits = np.array([[1, 2, 0], [3, 0, 1], [0, 0, 1], [5, 6, 7]])
    assert class_conditional_accuracy(logits, np.array([1, 0, 1, 2])) == 0.75
