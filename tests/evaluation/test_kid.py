import numpy as np
import pytest
import tensorflow as tf

from hamgan import tfgan
from hamgan.evaluation.kid import kernel_inception_distance


def reference_kid(real, fake, blocks):
    def kernel(x, y):
        return (x @ y.T / x.shape[1] + 1) ** 3

    def off_diagonal_mean(matrix):
        return matrix[~np.eye(len(matrix), dtype=bool)].mean()

    distances = []
    for x, y in zip(np.split(np.float64(real), blocks), np.split(np.float64(fake), blocks), strict=True):
        of_both = kernel(x, y).mean()
        distances.append(off_diagonal_mean(kernel(x, x)) + off_diagonal_mean(kernel(y, y)) - 2 * of_both)
    return np.mean(distances), np.std(distances, ddof=1) / np.sqrt(blocks)


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


def test_memory_mapped_features_score_like_arrays(real, fake, tmp_path):
    real.tofile(tmp_path / "real")
    mapped = np.memmap(tmp_path / "real", np.float32, "r", shape=real.shape)
    assert kernel_inception_distance(mapped, fake) == kernel_inception_distance(real, fake)


def test_errors_name_expected_and_received_values(real, fake):
    with pytest.raises(ValueError, match="expected features of equal width, received 64 and 63"):
        kernel_inception_distance(real, fake[:, :-1])
    with pytest.raises(ValueError, match="2 fake rows in each of 5 blocks, received 5000 and 9 rows"):
        kernel_inception_distance(real, fake[:9])
