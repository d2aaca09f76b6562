import numpy as np
import pytest

from hamgan.evaluation.fid import FrechetDistance, Moments
from hamgan.evaluation.inception_score import inception_score
from hamgan.evaluation.uncertainty import (
    bootstrap_frechet_distance,
    bootstrap_inception_score,
    frechet_distance_infinity,
)


def test_bootstrap_error_of_fid_is_the_spread_over_independent_fakes():
    rng = np.random.default_rng(0)
    distance = FrechetDistance(Moments.of(rng.normal(size=(5000, 4))))

    def fakes():
        return rng.normal(size=(500, 4)) * [1, 1.5, 0.5, 1] + 0.5

    spread = np.std([distance.fast(Moments.of(fakes())) for _ in range(200)], ddof=1)
    errors = [bootstrap_frechet_distance(distance, fakes(), resamples=100, seed=seed) for seed in range(3)]
    assert np.mean(errors) == pytest.approx(spread, rel=0.2)


def test_bootstrap_error_of_inception_score_is_the_spread_over_independent_fakes():
    rng = np.random.default_rng(0)

    def logits():
        return rng.normal(size=(500, 5)) * 3

    spread = np.std([inception_score(logits()) for _ in range(200)], ddof=1)
    errors = [bootstrap_inception_score(logits(), resamples=100, seed=seed) for seed in range(3)]
    assert np.mean(errors) == pytest.approx(spread, rel=0.2)


def test_bootstrap_scores_resampled_rows(real, fake, logits, small_blocks):
    draws = [np.random.default_rng([7, index]).integers(1000, size=1000) for index in range(3)]
    scores = [inception_score(logits[rows]) for rows in draws]
    error = bootstrap_inception_score(logits[:1000], resamples=3, seed=7)
    assert error == pytest.approx(np.std(scores, ddof=1), rel=1e-9)
    distance = FrechetDistance(Moments.of(real))
    distances = [distance.fast(Moments.of(fake[rows])) for rows in draws]
    error = bootstrap_frechet_distance(distance, fake[:1000], resamples=3, seed=7)
    assert error == pytest.approx(np.std(distances, ddof=1), rel=1e-6)
    assert error == bootstrap_frechet_distance(distance, fake[:1000], resamples=3, seed=7)
    assert error != bootstrap_frechet_distance(distance, fake[:1000], resamples=3, seed=8)


def test_extrapolated_fid_is_closer_to_the_true_value():
    scales = np.linspace(0.7, 1.2, 64)
    standard = Moments(2, np.zeros(64), np.eye(64))  # The covariance is the identity.
    distance = FrechetDistance(standard)
    truth = np.sum((scales - 1) ** 2)
    for seed in range(3):
        fake = np.random.default_rng(seed).normal(size=(1500, 64)) * scales
        bias = distance.fast(Moments.of(fake)) - truth
        rest = frechet_distance_infinity(distance, fake, seed=seed) - truth
        assert bias > truth / 10
        assert abs(rest) < bias / 3


def test_extrapolated_fid_is_the_intercept_over_subsets_without_replacement(real, fake):
    sizes = []

    class Recorded(FrechetDistance):
        def fast(self, fake):
            sizes.append(fake.count)
            # A line in 1/N, plus a term that is nonzero if the largest sample is not each row once.
            return 3 + 70 / fake.count + (1e3 * np.abs(fake.mean - everything.mean).max() if fake.count == 5000 else 0)

    everything = Moments.of(fake)
    distance = Recorded(Moments.of(real))
    assert frechet_distance_infinity(distance, fake, seed=0) == pytest.approx(3, abs=1e-9)
    assert sizes == list(np.linspace(500, 5000, 15).astype(int))
    sizes.clear()
    frechet_distance_infinity(distance, fake, seed=0, points=3, smallest=1000)
    assert sizes == [1000, 3000, 5000]
    sizes.clear()
    frechet_distance_infinity(distance, fake[:300], seed=0, points=2)
    frechet_distance_infinity(distance, fake[:100], seed=0, points=2)
    assert sizes == [64 + 1, 300, 50, 100]


def test_errors_name_expected_and_received_values(real, fake):
    distance = FrechetDistance(Moments.of(real))
    with pytest.raises(ValueError, match="expected at least 2 resamples, received 1"):
        bootstrap_frechet_distance(distance, fake, resamples=1, seed=0)
    with pytest.raises(ValueError, match="expected at least 2 resamples, received 1"):
        bootstrap_inception_score(fake, resamples=1, seed=0)
    with pytest.raises(ValueError, match="expected at least 2 points, received 1"):
        frechet_distance_infinity(distance, fake, seed=0, points=1)
    with pytest.raises(ValueError, match="less than 5000 rows, received 5000"):
        frechet_distance_infinity(distance, fake, seed=0, smallest=5000)
