import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

from hamgan import tfgan
from hamgan.evaluation.inception_score import InceptionScoreSums, inception_score


def reference_inception_score(logits):
    p = scipy.special.softmax(np.float64(logits), axis=1)
    return np.exp(scipy.stats.entropy(p.mean(0)) - scipy.stats.entropy(p, axis=1).mean())


def test_inception_score_equals_tfgan_and_the_formula(logits, small_blocks):
    score = inception_score(logits)
    of_tfgan = tfgan.classifier_score_from_logits(tf.constant(np.float64(logits)))
    assert score == pytest.approx(float(of_tfgan), rel=1e-6)
    assert score == pytest.approx(reference_inception_score(logits), rel=1e-5)
    assert InceptionScoreSums.of(logits[:10]).merge(InceptionScoreSums.of(logits[10:])).score == pytest.approx(score)


def test_inception_score_ranges_from_one_to_the_number_of_classes():
    assert inception_score(np.tile(np.float32([1, 2, 3]), (6, 1))) == pytest.approx(1, abs=1e-12)
    assert inception_score(50 * np.tile(np.eye(3, dtype=np.float32), (4, 1))) == pytest.approx(3, abs=1e-12)


def test_inception_score_of_huge_logits_is_finite():
    huge = 1e30 * np.tile(np.eye(3, 4, dtype=np.float32), (4, 1))
    assert inception_score(huge) == pytest.approx(3, abs=1e-12)


def test_memory_mapped_logits_score_like_arrays(logits, tmp_path):
    logits.tofile(tmp_path / "logits")
    mapped = np.memmap(tmp_path / "logits", np.float32, "r", shape=logits.shape)
    assert inception_score(mapped) == inception_score(logits)


def test_inception_score_needs_at_least_one_image():
    with pytest.raises(ValueError, match="expected at least 1 image for the Inception Score, received none"):
        inception_score(np.zeros((0, 10)))
