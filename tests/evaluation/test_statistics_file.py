import numpy as np
import pytest

from hamgan.errors import FailedError, UserError
from hamgan.evaluation.fid import Gaussian, Moments
from hamgan.evaluation.statistics_file import Statistics, read_statistics, save_statistics

FEATURES = np.random.default_rng(0).normal(size=(50, 4))
MOMENTS = Moments.of(FEATURES)
MU, SIGMA = MOMENTS.mean, MOMENTS.covariance
CARD = {"count": 50, "classifier": {"sha256": "ab", "resize": "bilinear"}, "images": {"kind": "image files"}}


def test_statistics_are_written_with_their_card_and_read(tmp_path):
    path = str(tmp_path / "s.npz")
    save_statistics(path, Statistics(Gaussian(MU, SIGMA), CARD))
    found = read_statistics(path)
    np.testing.assert_array_equal(found.gaussian.mean, MU)
    np.testing.assert_array_equal(found.gaussian.covariance, SIGMA)
    assert found.card == CARD
    # As pytorch-fid reads them: np.load without pickles.
    with np.load(path) as file:
        assert file["mu"].dtype == file["sigma"].dtype == np.float64


def test_statistics_of_other_programs_have_no_card(tmp_path):
    path = str(tmp_path / "s.npz")
    np.savez_compressed(path, mu=MU.astype(np.float32), sigma=SIGMA, mu_s=MU, sigma_s=SIGMA)
    found = read_statistics(path)
    assert found.card is None
    assert found.gaussian.mean.dtype == np.float64


def test_identity_is_that_of_the_numbers():
    assert Statistics(Gaussian(MU, SIGMA)).sha256 == Statistics(Gaussian(MU, SIGMA), CARD).sha256
    assert Statistics(Gaussian(MU, SIGMA)).sha256 != Statistics(Gaussian(MU + 1, SIGMA)).sha256


def _with(value, row, column):
    changed = SIGMA.copy()
    changed[row, column] = value
    return changed


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"mu": MU}, "expected images as arr_0, or statistics as mu and sigma; found mu"),
        ({"mu": MU, "sigma": SIGMA[:3]}, r"sigma of shape \(width, width\)"),
        ({"mu": MU[np.newaxis], "sigma": SIGMA}, r"mu of shape \(width,\)"),
        ({"mu": MU.astype(int), "sigma": SIGMA}, "expected floating-point mu"),
        ({"mu": MU.astype(object), "sigma": SIGMA}, "is no complete .npz file"),
        ({"mu": MU * np.nan, "sigma": SIGMA}, "expected finite mu and sigma"),
        ({"mu": MU, "sigma": _with(np.inf, 0, 0)}, "expected finite mu and sigma"),
        ({"mu": MU, "sigma": _with(0.5, 0, 1)}, "expected a symmetric sigma"),
        ({"mu": MU, "sigma": _with(-0.5, 1, 1)}, "expected variances on the diagonal"),
        ({"mu": MU, "sigma": SIGMA, "hamgan_card": "[]"}, "hamgan_card"),
        ({"mu": MU, "sigma": SIGMA, "hamgan_card": "{"}, "hamgan_card"),
    ],
)
def test_other_arrays_are_refused(arrays, message, tmp_path):
    path = str(tmp_path / "s.npz")
    np.savez(path, **arrays)
    with pytest.raises(UserError, match=message):
        read_statistics(path)


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(FailedError, match="cannot write"):
        save_statistics(str(tmp_path / "file" / "s.npz"), Statistics(Gaussian(MU, SIGMA), CARD))
