import subprocess
import sys

import numpy as np
import pytest
import scipy.linalg
import tensorflow as tf

from hamgan import tfgan

CHECK_NAMESPACE = """
import sys
import tensorflow as tf
before = set(dir(tf)), set(dir(tf.compat.v1))
import hamgan.tfgan
assert (set(dir(tf)), set(dir(tf.compat.v1))) == before, "tf was changed"
assert not hasattr(tf, "estimator")
assert not [name for name in sys.modules if name.split(".")[0] == "tensorflow_gan"], "bare modules were left"
"""


@pytest.mark.slow
def test_import_leaves_tensorflow_and_sys_modules_as_they_were():
    result = subprocess.run([sys.executable, "-c", CHECK_NAMESPACE], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_frechet_distance_equals_the_formula():
    rng = np.random.default_rng(0)
    one = rng.normal(size=(400, 6)) @ rng.normal(size=(6, 6))
    other = rng.normal(size=(300, 6)) + 0.5
    mean_difference = one.mean(0) - other.mean(0)
    covariance_one, covariance_other = np.cov(one.T), np.cov(other.T)
    root = scipy.linalg.sqrtm(covariance_one @ covariance_other).real
    expected = mean_difference @ mean_difference + np.trace(covariance_one + covariance_other - 2 * root)
    distance = tfgan.frechet_classifier_distance_from_activations(tf.constant(one), tf.constant(other))
    np.testing.assert_allclose(float(distance), expected, rtol=1e-6)


def test_classifier_score_equals_the_formula():
    logits = np.random.default_rng(0).normal(size=(50, 7)) * 3
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = np.exp(np.mean(np.sum(p * np.log(p / p.mean(0)), axis=1)))
    np.testing.assert_allclose(float(tfgan.classifier_score_from_logits(tf.constant(logits))), expected, rtol=1e-6)
