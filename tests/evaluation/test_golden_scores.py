"""Scores equal those of pytorch-fid, torch-fidelity and prdc on stored features."""

import json
import pathlib

import numpy as np
import pytest

from hamgan.evaluation.fid import FrechetDistance, Gaussian, Moments
from hamgan.evaluation.inception_score import inception_score
from hamgan.evaluation.kid import kernel_inception_distance
from hamgan.evaluation.neighbors import precision_recall_density_coverage

GOLDEN = pathlib.Path(__file__).parents[1] / "golden_scores"
FLOAT32 = 1e-7
"""torch-fidelity computes precision and recall in float32."""


@pytest.fixture(params=["fewer_rows_than_width", "wide_enough"])
def golden(request):
    with np.load(GOLDEN / f"{request.param}.npz") as arrays:
        return dict(arrays), json.loads((GOLDEN / f"{request.param}.json").read_text())


def test_fid_of_features_and_of_statistics(golden):
    arrays, expected = golden
    fakes = Moments.of(arrays["fake"])
    for reference in (Moments.of(arrays["real"]), Gaussian(arrays["mu"], arrays["sigma"])):
        for distance in (FrechetDistance(reference)(fakes), FrechetDistance(reference).fast(fakes)):
            assert distance == pytest.approx(expected["pytorch_fid"], rel=1e-6)
            assert distance == pytest.approx(expected["torch_fidelity_fid"], rel=1e-6)


def test_statistics(golden):
    arrays, _ = golden
    moments = Moments.of(arrays["real"])
    np.testing.assert_allclose(moments.mean, arrays["mu"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(moments.covariance, arrays["sigma"], rtol=0, atol=1e-12)


def test_inception_score(golden):
    arrays, expected = golden
    assert inception_score(arrays["logits"]) == pytest.approx(expected["torch_fidelity_isc_splits1"], rel=1e-6)


def test_kid(golden):
    arrays, expected = golden
    (name,) = (name for name in expected if name.startswith("torch_fidelity_kid"))
    rows = min(len(arrays["real"]), len(arrays["fake"]))
    distance, _ = kernel_inception_distance(arrays["real"][:rows], arrays["fake"][:rows])
    assert distance == pytest.approx(expected[name], abs=1e-9)


def test_precision_and_recall_of_torch_fidelity(golden):
    arrays, expected = golden
    scores = precision_recall_density_coverage(arrays["real"], arrays["fake"])
    for name in ("precision", "recall"):
        assert scores[name] == pytest.approx(expected[f"torch_fidelity_{name}_k3"], abs=FLOAT32)


def test_precision_recall_density_and_coverage_of_prdc(golden):
    arrays, expected = golden
    scores = precision_recall_density_coverage(arrays["real"], arrays["fake"], precision_neighbors=5)
    assert scores == pytest.approx(expected["prdc_k5"], abs=1e-6)
