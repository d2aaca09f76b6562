import numpy as np
import pytest
import tensorflow as tf

from hamgan.errors import UserError
from hamgan.evaluation.classifier import INCEPTION_SIZE, Classifier
from hamgan.evaluation.small_classifier import train_small_classifier


class _Means(tf.Module):
    """Returns the mean color, and what size of image it was given."""

    def __init__(self, size, outputs):
        super().__init__()
        self._outputs = outputs
        self._call = tf.function(self._classify, input_signature=[tf.TensorSpec((None, size, size, 3))])

    def _classify(self, images):
        means = tf.reduce_mean(images, (1, 2), keepdims=True)
        size = tf.fill((tf.shape(images)[0], 1), tf.cast(tf.shape(images)[1], tf.float32))
        return {name: {"logits": means, "pool_3": size}[name] for name in self._outputs}

    def save(self, path):
        self.__call__ = self._call
        tf.saved_model.save(self, path, signatures={"serving_default": self._call})
        return path


def _batches(count=5, size=8):
    images = np.random.default_rng(0).uniform(-1, 1, (count, size, size, 3)).astype(np.float32)
    return images, [(images[:3], np.arange(3)), (images[3:], np.arange(3, count))]


@pytest.mark.parametrize(("size", "expected"), [(8, 8), (16, 16), (None, INCEPTION_SIZE)])
def test_images_are_resized_to_the_signatures_size_or_inceptions(tmp_path, size, expected):
    classifier = Classifier(_Means(size, ("logits", "pool_3")).save(str(tmp_path / "model")))
    images, batches = _batches()
    features = classifier.features(batches)
    np.testing.assert_array_equal(features.pool_3, np.full((5, 1), expected))
    resized = tf.image.resize(images, (expected, expected), method="bilinear", antialias=False)
    np.testing.assert_allclose(features.logits, tf.reduce_mean(resized, (1, 2)), atol=1e-5)
    np.testing.assert_array_equal(features.labels, np.arange(5))


def test_a_classifier_without_pool_3_is_refused(tmp_path):
    classifier = Classifier(_Means(8, ("logits",)).save(str(tmp_path / "model")))
    with pytest.raises(UserError, match="must return logits and pool_3; lacks pool_3"):
        classifier.features(_batches()[1])


def test_a_classifier_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"cannot be loaded .*pass --classifier"):
        Classifier(str(tmp_path / "nothing"))


def test_the_small_classifier_is_exported_for_the_same_path(tiny, classifier_path):
    classifier = Classifier(classifier_path)
    assert classifier.image_size == 32
    features = classifier.features([(np.zeros((2, 32, 32, 3), np.float32), np.zeros(2))])
    assert features.logits.shape == (2, 10)
    assert features.pool_3.shape == (2, 64)


def test_the_small_classifier_learns(tiny, tmp_path):
    output = tmp_path / "classifier"
    assert train_small_classifier(tiny.data, resolution=32, output=str(output), steps=60) > 0.8
    assert [path.name for path in tmp_path.iterdir()] == ["classifier"]
