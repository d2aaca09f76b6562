import numpy as np
import pytest
import scipy.linalg
import scipy.special
import scipy.stats
import tensorflow as tf

from hamgan import tfgan
from hamgan.evaluation import metrics
from hamgan.evaluation.metrics import (
    FrechetDistanceTo,
    InceptionScoreSums,
    Moments,
    class_conditional_accuracy,
    frechet_distance,
    frechet_inception_distance,
    inception_score,
    intra_class_frechet_distances,
    kernel_inception_distance,
)
from hamgan.evaluation.uncertainty import (
    bootstrap_frechet_distance,
    bootstrap_inception_score,
    frechet_distance_infinity,
)

WIDTH = 64
ROWS = 5000


@pytest.fixture(scope="module")
def real():
    rng = np.random.default_rng(0)
    return np.maximum(rng.normal(size=(ROWS, WIDTH)) @ rng.normal(size=(WIDTH, WIDTH)) * 0.2, 0).astype(np.float32)


@pytest.fixture(scope="module")
def fake():
    rng = np.random.default_rng(1)
    return np.maximum(rng.normal(size=(ROWS, WIDTH)) @ rng.normal(size=(WIDTH, WIDTH)) * 0.2 + 0.1, 0).astype(
        np.float32
    )


@pytest.fixture(scope="module")
def logits():
    return (np.random.default_rng(2).normal(size=(ROWS, 100)) * 3).astype(np.float32)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(metrics, "_BLOCK_ROWS", 700)


def reference_fid(real, fake):
    real, fake = np.float64(real), np.float64(fake)
    covariance, fake_covariance = np.cov(real.T), np.cov(fake.T)
    root = scipy.linalg.sqrtm(covariance @ fake_covariance).real
    mean_difference = real.mean(0) - fake.mean(0)
    return mean_difference @ mean_difference + np.trace(covariance + fake_covariance - 2 * root)


def reference_inception_score(logits):
    p = scipy.special.softmax(np.float64(logits), axis=1)
    return np.exp(scipy.stats.entropy(p.mean(0)) - scipy.stats.entropy(p, axis=1).mean())


def reference_kid(real, fake, blocks):
    def kernel(x, y):
        return (x @ y.T / WIDTH + 1) ** 3

    def off_diagonal_mean(matrix):
        return matrix[~np.eye(len(matrix), dtype=bool)].mean()

    distances = []
    for x, y in zip(np.split(np.float64(real), blocks), np.split(np.float64(fake), blocks), strict=True):
        of_both = kernel(x, y).mean()
        distances.append(off_diagonal_mean(kernel(x, x)) + off_diagonal_mean(kernel(y, y)) - 2 * of_both)
    return np.mean(distances), np.std(distances, ddof=1) / np.sqrt(blocks)


def test_fid_equals_tfgan_and_the_formula(real, fake, small_blocks):
    distance = frechet_inception_distance(real, fake)
    of_tfgan = tfgan.frechet_classifier_distance_from_activations(tf.constant(np.float64(real)), np.float64(fake))
    assert distance == pytest.approx(float(of_tfgan), rel=1e-6)
    assert distance == pytest.approx(reference_fid(real, fake), rel=1e-5)
    assert FrechetDistanceTo(Moments.of(real))(Moments.of(fake)) == pytest.approx(distance, rel=1e-6)


def test_fid_of_shifted_features_is_the_squared_shift():
    features = np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32)
    distance_to = FrechetDistanceTo(Moments.of(features))
    for distance in (frechet_inception_distance, lambda _, fake: distance_to(Moments.of(fake))):
        assert distance(features, features) == pytest.approx(0, abs=1e-9)
        assert distance(features, np.float64(features) + 2) == pytest.approx(4 * 5, rel=1e-9)


def test_fid_of_fewer_rows_than_columns_equals_tfgan(real, fake):
    of_tfgan = tfgan.frechet_classifier_distance_from_activations(
        tf.constant(np.float64(real[:40])), np.float64(fake[:30])
    )
    assert frechet_inception_distance(real[:40], fake[:30]) == pytest.approx(float(of_tfgan), rel=1e-6)
    distance = FrechetDistanceTo(Moments.of(real[:40]))
    assert distance(Moments.of(fake[:30])) == pytest.approx(float(of_tfgan), rel=1e-6)


def test_moments_are_those_of_numpy_far_from_the_origin(small_blocks):
    features = (np.random.default_rng(0).normal(size=(2000, 6)) + 1000).astype(np.float32)
    moments = Moments.of(features)
    assert moments.count == 2000
    np.testing.assert_allclose(moments.mean, np.float64(features).mean(0), rtol=1e-13)
    np.testing.assert_allclose(moments.covariance, np.cov(np.float64(features.T)), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("ends", [[], [1], [0, 2500], [700, 701, 4000], [5000]])
def test_moments_of_shares_merge_to_the_whole(real, ends):
    whole = Moments.of(real)
    shares = [Moments.of(share) for share in np.split(real, ends)]
    for order in (shares, shares[::-1]):
        merged = order[0]
        for share in order[1:]:
            merged = merged.merge(share)
        assert merged.count == ROWS
        np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-12)
        np.testing.assert_allclose(merged.scatter, whole.scatter, rtol=1e-10, atol=1e-10)


def test_weights_are_repetitions_of_rows(real, small_blocks):
    rng = np.random.default_rng(0)
    rows, weights = rng.permutation(ROWS)[:1500], rng.integers(0, 4, 1500)
    weights[:700] = 0
    weighted, repeated = Moments.of(real, rows, weights), Moments.of(real[np.repeat(rows, weights)])
    assert weighted.count == repeated.count == weights.sum()
    np.testing.assert_allclose(weighted.mean, repeated.mean, rtol=1e-12)
    np.testing.assert_allclose(weighted.scatter, repeated.scatter, rtol=1e-10, atol=1e-10)


def test_inception_score_equals_tfgan_and_the_formula(logits, small_blocks):
    score = inception_score(logits)
    of_tfgan = tfgan.classifier_score_from_logits(tf.constant(np.float64(logits)))
    assert score == pytest.approx(float(of_tfgan), rel=1e-6)
    assert score == pytest.approx(reference_inception_score(logits), rel=1e-5)
    assert InceptionScoreSums.of(logits[:10]).merge(InceptionScoreSums.of(logits[10:])).score == pytest.approx(score)


def test_inception_score_runs_from_one_to_the_number_of_classes():
    assert inception_score(np.tile(np.float32([1, 2, 3]), (6, 1))) == pytest.approx(1, abs=1e-12)
    assert inception_score(50 * np.tile(np.eye(3, dtype=np.float32), (4, 1))) == pytest.approx(3, abs=1e-12)


def test_inception_score_of_huge_logits_is_a_number():
    huge = 1e30 * np.tile(np.eye(3, 4, dtype=np.float32), (4, 1))
    assert inception_score(huge) == pytest.approx(3, abs=1e-12)


@pytest.mark.parametrize(("real_rows", "fake_rows"), [(5000, 5000), (5000, 4321), (1003, 4999)])
def test_kid_equals_tfgan(real, fake, real_rows, fake_rows):
    real, fake = real[:real_rows], fake[:fake_rows]
    distance, error = kernel_inception_distance(real, fake)
    of_tfgan, error_of_tfgan = tfgan.kernel_classifier_distance_and_std_from_activations(
        tf.constant(np.float64(real)), tf.constant(np.float64(fake))
    )
    assert distance == pytest.approx(float(of_tfgan), rel=1e-6)
    assert error == pytest.approx(float(error_of_tfgan), rel=1e-6)


def test_kid_equals_the_formula(real, fake):
    assert kernel_inception_distance(real, fake, 1000) == pytest.approx(reference_kid(real, fake, 5), rel=1e-5)


def test_kid_of_one_block_has_no_standard_error(real, fake):
    distance, error = kernel_inception_distance(real[:500], fake[:400])
    assert np.isfinite(distance)
    assert error is None


def test_bootstrap_error_of_fid_is_the_spread_over_independent_fakes():
    rng = np.random.default_rng(0)
    distance = FrechetDistanceTo(Moments.of(rng.normal(size=(5000, 4))))

    def fakes():
        return rng.normal(size=(500, 4)) * [1, 1.5, 0.5, 1] + 0.5

    spread = np.std([distance(Moments.of(fakes())) for _ in range(200)], ddof=1)
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
    distance = FrechetDistanceTo(Moments.of(real))
    distances = [distance(Moments.of(fake[rows])) for rows in draws]
    error = bootstrap_frechet_distance(distance, fake[:1000], resamples=3, seed=7)
    assert error == pytest.approx(np.std(distances, ddof=1), rel=1e-6)
    assert error == bootstrap_frechet_distance(distance, fake[:1000], resamples=3, seed=7)
    assert error != bootstrap_frechet_distance(distance, fake[:1000], resamples=3, seed=8)


def test_fid_at_infinity_is_nearer_the_truth():
    scales = np.linspace(0.7, 1.2, WIDTH)
    standard = Moments(2, np.zeros(WIDTH), np.eye(WIDTH))  # Its covariance is the identity.
    distance = FrechetDistanceTo(standard)
    truth = np.sum((scales - 1) ** 2)
    for seed in range(3):
        fake = np.random.default_rng(seed).normal(size=(1500, WIDTH)) * scales
        bias = distance(Moments.of(fake)) - truth
        rest = frechet_distance_infinity(distance, fake, seed=seed) - truth
        assert bias > truth / 10
        assert abs(rest) < bias / 3


def test_fid_at_infinity_is_the_intercept_over_subsets_without_replacement(real, fake):
    sizes = []

    class Recorded(FrechetDistanceTo):
        def __call__(self, fake):
            sizes.append(fake.count)
            # A line in 1/N, and something that gives itself away if all are not each row once.
            return 3 + 70 / fake.count + (1e3 * np.abs(fake.mean - everything.mean).max() if fake.count == ROWS else 0)

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
    assert sizes == [WIDTH + 1, 300, 50, 100]


def test_intra_class_fid_is_the_fid_of_each_class(real, fake):
    labels = np.repeat([0, 2, 1], [40, 50, 4910])
    fake_labels = np.random.default_rng(0).permutation(labels)
    distances = intra_class_frechet_distances(real, labels, fake, fake_labels, [2, 0])
    assert list(distances) == [2, 0]
    for label, distance in distances.items():
        expected = frechet_inception_distance(real[labels == label], fake[fake_labels == label])
        assert distance == pytest.approx(expected, rel=1e-6)


def test_files_on_disk_are_scored_as_arrays_in_memory(real, fake, tmp_path):
    real.tofile(tmp_path / "real")
    mapped = np.memmap(tmp_path / "real", np.float32, "r", shape=real.shape)
    assert frechet_inception_distance(mapped, fake) == frechet_inception_distance(real, fake)
    assert kernel_inception_distance(mapped, fake) == kernel_inception_distance(real, fake)
    assert inception_score(mapped) == inception_score(real)


def test_errors_say_what_was_expected_and_what_was_received(real, fake):
    narrow = fake[:, :-1]
    with pytest.raises(ValueError, match="equal widths are expected, received 64 and 63"):
        frechet_inception_distance(real, narrow)
    with pytest.raises(ValueError, match="equal widths are expected, received 64 and 63"):
        FrechetDistanceTo(Moments.of(real))(Moments.of(narrow))
    with pytest.raises(ValueError, match="equal widths are expected, received 64 and 63"):
        kernel_inception_distance(real, narrow)
    with pytest.raises(ValueError, match="equal widths are expected, received 64 and 63"):
        intra_class_frechet_distances(real[:9], np.zeros(9), narrow[:9], np.zeros(9), [0])
    with pytest.raises(ValueError, match="at least 2 rows, received 1"):
        frechet_distance(Moments.of(real), Moments.of(fake[:1]))
    with pytest.raises(ValueError, match=r"expected, received the shape \(64,\)"):
        Moments.of(real[0])
    with pytest.raises(ValueError, match=r"a weight for each of 3 rows is expected, received the shape \(4,\)"):
        Moments.of(real, np.arange(3), np.ones(4, int))
    with pytest.raises(ValueError, match="at least 1 image, received none"):
        inception_score(np.zeros((0, 10)))
    with pytest.raises(ValueError, match="in each of 5 blocks are expected, received 5000 and 9 rows"):
        kernel_inception_distance(real, fake[:9])
    distance = FrechetDistanceTo(Moments.of(real))
    with pytest.raises(ValueError, match="at least 2 resamples are expected, received 1"):
        bootstrap_frechet_distance(distance, fake, resamples=1, seed=0)
    with pytest.raises(ValueError, match="at least 2 resamples are expected, received 1"):
        bootstrap_inception_score(fake, resamples=1, seed=0)
    with pytest.raises(ValueError, match="at least 2 points are expected, received 1"):
        frechet_distance_infinity(distance, fake, seed=0, points=1)
    with pytest.raises(ValueError, match="below the 5000 rows is expected, received 5000"):
        frechet_distance_infinity(distance, fake, seed=0, smallest=5000)
    with pytest.raises(ValueError, match=r"class 1 is expected .* received 3 real and 1 fake"):
        intra_class_frechet_distances(real[:6], np.array([0, 0, 0, 1, 1, 1]), fake[:4], np.array([0, 0, 0, 1]), [0, 1])
    with pytest.raises(ValueError, match=r"a label for each of 4 fake rows expected, received \(3,\)"):
        intra_class_frechet_distances(real[:6], np.zeros(6), fake[:4], np.zeros(3), [0])


def test_accuracy_is_the_share_of_labels_asked_for():
    logits = np.array([[1, 2, 0], [3, 0, 1], [0, 0, 1], [5, 6, 7]])
    assert class_conditional_accuracy(logits, np.array([1, 0, 1, 2])) == 0.75
