import math

import numpy as np
import pytest

from hamgan.evaluation.features import Features
from hamgan.evaluation.fid import Gaussian, Moments, frechet_inception_distance
from hamgan.evaluation.inception_score import inception_score
from hamgan.evaluation.kid import kernel_inception_distance
from hamgan.evaluation.neighbors import precision_recall_density_coverage
from hamgan.evaluation.set_scores import FeatureSet, set_scores

WIDTH = 8


def _set(seed, count, shift=0.0, in_random_order=True):
    rng = np.random.default_rng(seed)
    pool_3 = (rng.normal(size=(count, WIDTH)) + shift).astype(np.float32)
    features = Features(rng.normal(size=(count, 5)).astype(np.float32), pool_3, np.zeros(count, np.int32))
    moments = Moments.of(pool_3)
    return FeatureSet(Gaussian(moments.mean, moments.covariance), features, in_random_order)


def test_sets_of_different_sizes_have_all_scores():
    fakes, reference = _set(0, 60, shift=0.5), _set(1, 90)
    scores, errors = set_scores(fakes, reference, neighbors_samples=1000)
    one, other = reference.features.pool_3, fakes.features.pool_3
    neighbors = precision_recall_density_coverage(one, other)
    assert scores == pytest.approx(
        {
            "fid": frechet_inception_distance(one, other),
            "inception_score": inception_score(fakes.features.logits),
            "kid": kernel_inception_distance(one, other)[0],
            **neighbors,
        }
    )
    assert errors == {"kid": None}


def test_statistics_have_a_fid_and_fakes_an_inception_score():
    fakes, reference = _set(0, 60, shift=0.5), _set(1, 90)
    whole, _ = set_scores(fakes, reference, neighbors_samples=0)
    nothing = dict.fromkeys(("kid", "precision", "recall", "density", "coverage"))
    scores, _ = set_scores(fakes, FeatureSet(reference.gaussian), neighbors_samples=100)
    assert scores == {"fid": whole["fid"], "inception_score": whole["inception_score"], **nothing}
    scores, _ = set_scores(FeatureSet(fakes.gaussian), reference, neighbors_samples=100)
    assert scores == {"fid": whole["fid"], "inception_score": None, **nothing}


def test_sorted_images_are_shuffled_for_scores_of_parts():
    # The same two classes in opposite order: in stored order, blocks of KID compare one class with the other.
    def by_class(seed, shifts, in_random_order):
        one, other = (_set(seed + index, 550, shift).features for index, shift in enumerate(shifts))
        features = Features(*map(np.concatenate, zip(one, other, strict=True)))
        return FeatureSet(_set(seed, 20).gaussian, features, in_random_order)

    reference = by_class(0, (0.0, 4.0), in_random_order=False)
    part = reference.random_part(400)
    assert part.shape == (400, WIDTH)
    assert 0.4 < (part.mean(axis=1) > 2).mean() < 0.6
    np.testing.assert_array_equal(part, reference.random_part(400))
    stored = by_class(0, (0.0, 4.0), in_random_order=True)
    assert (stored.random_part(400).mean(axis=1) < 2).all()
    shuffled, _ = set_scores(by_class(2, (4.0, 0.0), in_random_order=False), reference, neighbors_samples=0)
    unshuffled, _ = set_scores(by_class(2, (4.0, 0.0), in_random_order=True), stored, neighbors_samples=0)
    assert abs(shuffled["kid"]) < 0.01 * unshuffled["kid"]


def test_too_few_images_have_no_kid_and_no_neighbours(caplog):
    scores, _ = set_scores(_set(0, 3), _set(1, 1100), neighbors_samples=100)
    assert scores["kid"] is None
    assert scores["precision"] is None
    assert scores["fid"] > 0
    assert "No KID" in caplog.text
    assert "No precision" in caplog.text


def test_fakes_that_are_not_finite_have_no_score():
    fakes = _set(0, 20)
    fakes.features.pool_3[3, 3] = np.nan
    scores, _ = set_scores(fakes, _set(1, 20), neighbors_samples=5)
    assert len(scores) == 7
    assert all(map(math.isnan, scores.values()))
