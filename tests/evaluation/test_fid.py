import numpy as np
import pytest
import scipy.linalg
import tensorflow as tf

from hamgan import tfgan
from hamgan.evaluation.fid import FrechetDistance, Moments, frechet_inception_distance, intra_class_frechet_distances


def reference_fid(real, fake):
    real, fake = np.float64(real), np.float64(fake)
    covariance, fake_covariance = np.cov(real.T), np.cov(fake.T)
    root = scipy.linalg.sqrtm(covariance @ fake_covariance).real
    mean_difference = real.mean(0) - fake.mean(0)
    return mean_difference @ mean_difference + np.trace(covariance + fake_covariance - 2 * root)


def test_fid_equals_tfgan_and_the_formula(real, fake, small_blocks):
    distance = frechet_inception_distance(real, fake)
    of_tfgan = tfgan.frechet_classifier_distance_from_activations(tf.constant(np.float64(real)), np.float64(fake))
    assert distance == pytest.approx(float(of_tfgan), rel=1e-6)
    assert distance == pytest.approx(reference_fid(real, fake), rel=1e-5)
    assert FrechetDistance(Moments.of(real)).fast(Moments.of(fake)) == pytest.approx(distance, rel=1e-6)


def test_fid_of_shifted_features_is_the_squared_shift():
    features = np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32)
    distance_to = FrechetDistance(Moments.of(features))
    for distance in (frechet_inception_distance, lambda _, fake: distance_to.fast(Moments.of(fake))):
        assert distance(features, features) == pytest.approx(0, abs=1e-9)
        assert distance(features, np.float64(features) + 2) == pytest.approx(4 * 5, rel=1e-9)


def test_fid_of_fewer_rows_than_columns_equals_tfgan(real, fake):
    of_tfgan = tfgan.frechet_classifier_distance_from_activations(
        tf.constant(np.float64(real[:40])), np.float64(fake[:30])
    )
    assert frechet_inception_distance(real[:40], fake[:30]) == pytest.approx(float(of_tfgan), rel=1e-6)
    distance = FrechetDistance(Moments.of(real[:40]))
    assert distance.fast(Moments.of(fake[:30])) == pytest.approx(float(of_tfgan), rel=1e-6)


def test_moments_match_numpy_far_from_the_origin(small_blocks):
    features = (np.random.default_rng(0).normal(size=(2000, 6)) + 1000).astype(np.float32)
    moments = Moments.of(features)
    assert moments.count == 2000
    np.testing.assert_allclose(moments.mean, np.float64(features).mean(0), rtol=1e-13)
    np.testing.assert_allclose(moments.covariance, np.cov(np.float64(features.T)), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("ends", [[], [1], [0, 2500], [700, 701, 4000], [5000]])
def test_merged_moments_match_those_of_all_rows(real, ends):
    whole = Moments.of(real)
    shares = [Moments.of(share) for share in np.split(real, ends)]
    for order in (shares, shares[::-1]):
        merged = order[0]
        for share in order[1:]:
            merged = merged.merge(share)
        assert merged.count == len(real)
        np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-12)
        np.testing.assert_allclose(merged.scatter, whole.scatter, rtol=1e-10, atol=1e-10)


def test_weights_match_repeated_rows(real, small_blocks):
    rng = np.random.default_rng(0)
    rows, weights = rng.permutation(len(real))[:1500], rng.integers(0, 4, 1500)
    weights[:700] = 0
    weighted, repeated = Moments.of(real, rows, weights), Moments.of(real[np.repeat(rows, weights)])
    assert weighted.count == repeated.count == weights.sum()
    np.testing.assert_allclose(weighted.mean, repeated.mean, rtol=1e-12)
    np.testing.assert_allclose(weighted.scatter, repeated.scatter, rtol=1e-10, atol=1e-10)


def test_intra_class_fid_is_the_fid_of_each_class(real, fake):
    labels = np.repeat([0, 2, 1], [40, 50, 4910])
    fake_labels = np.random.default_rng(0).permutation(labels)
    distances = intra_class_frechet_distances(real, labels, fake, fake_labels, [2, 0])
    assert list(distances) == [2, 0]
    for label, distance in distances.items():
        expected = frechet_inception_distance(real[labels == label], fake[fake_labels == label])
        assert distance == pytest.approx(expected, rel=1e-6)


def test_memory_mapped_features_score_like_arrays(real, fake, tmp_path):
    real.tofile(tmp_path / "real")
    mapped = np.memmap(tmp_path / "real", np.float32, "r", shape=real.shape)
    assert frechet_inception_distance(mapped, fake) == frechet_inception_distance(real, fake)


def test_errors_name_expected_and_received_values(real, fake):
    narrow = fake[:, :-1]
    with pytest.raises(ValueError, match="expected features of equal width, received 64 and 63"):
        frechet_inception_distance(real, narrow)
    with pytest.raises(ValueError, match="expected features of equal width, received 64 and 63"):
        FrechetDistance(Moments.of(real)).fast(Moments.of(narrow))
    with pytest.raises(ValueError, match="expected features of equal width, received 64 and 63"):
        intra_class_frechet_distances(real[:9], np.zeros(9), narrow[:9], np.zeros(9), [0])
    with pytest.raises(ValueError, match="expected at least 2 rows for a covariance, received 1"):
        FrechetDistance(Moments.of(real))(Moments.of(fake[:1]))
    with pytest.raises(ValueError, match="expected at least 2 rows for a covariance, received 1"):
        FrechetDistance(Moments.of(real[:1]))
    with pytest.raises(
        ValueError, match=r"features: expected an array of shape \(rows, columns\), received shape \(64,\)"
    ):
        Moments.of(real[0])
    with pytest.raises(ValueError, match=r"expected weights of shape \(3,\), received shape \(4,\)"):
        Moments.of(real, np.arange(3), np.ones(4, int))
    with pytest.raises(
        ValueError, match="expected at least 2 real and 2 fake images of class 1, received 3 real and 1 fake"
    ):
        intra_class_frechet_distances(real[:6], np.array([0, 0, 0, 1, 1, 1]), fake[:4], np.array([0, 0, 0, 1]), [0, 1])
    with pytest.raises(ValueError, match=r"expected fake labels of shape \(4,\), received shape \(3,\)"):
        intra_class_frechet_distances(real[:6], np.zeros(6), fake[:4], np.zeros(3), [0])
