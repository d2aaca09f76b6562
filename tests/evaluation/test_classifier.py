import hashlib
import shutil
import socket
import urllib.error
import urllib.request

import numpy as np
import pytest
import tensorflow as tf

from hamgan.errors import UserError
from hamgan.evaluation.classifier import INCEPTION_SIZE, Classifier, saved_model_sha256
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


def _images(count=5, size=8):
    return np.random.default_rng(0).uniform(-1, 1, (count, size, size, 3)).astype(np.float32)


@pytest.mark.parametrize(("size", "expected"), [(8, 8), (16, 16), (None, INCEPTION_SIZE)])
def test_images_are_resized_to_the_signatures_size_or_inceptions(tmp_path, size, expected):
    classifier = Classifier(_Means(size, ("logits", "pool_3")).save(str(tmp_path / "model")))
    images = _images()
    outputs = classifier(tf.constant(images))
    np.testing.assert_array_equal(outputs["pool_3"], np.full((5, 1), expected))
    resized = tf.image.resize(images, (expected, expected), method="bilinear", antialias=False)
    np.testing.assert_allclose(outputs["logits"], tf.reduce_mean(resized, (1, 2)), atol=1e-5)
    assert classifier.card()["image_size"] == expected


def test_a_classifier_without_pool_3_is_refused(tmp_path):
    classifier = Classifier(_Means(8, ("logits",)).save(str(tmp_path / "model")))
    with pytest.raises(UserError, match="must return logits and pool_3; lacks pool_3"):
        classifier(tf.constant(_images()))


def test_a_classifier_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"cannot be loaded .*pass --classifier"):
        Classifier(str(tmp_path / "nothing"))


def test_a_handle_that_cannot_be_reached_is_one_line_and_not_tried_again(monkeypatch, tmp_path):
    tries = []

    def unreachable(request, *_, **__):
        tries.append(request)
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
    with pytest.raises(
        UserError, match=r"classifier https://tfhub\.dev/x/1 cannot be loaded .*no route.*docs/evaluation"
    ):
        Classifier("https://tfhub.dev/x/1")
    assert len(tries) == 1
    assert socket.getdefaulttimeout() is None


def test_a_handle_is_read_from_tf_hubs_cache_without_network(monkeypatch, tmp_path):
    """As docs/evaluation.md says: the folder is the SHA-1 of the handle."""
    handle = "https://tfhub.dev/tensorflow/tfgan/eval/inception/1"
    _Means(None, ("logits", "pool_3")).save(str(tmp_path / hashlib.sha1(handle.encode()).hexdigest()))
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", None)
    assert Classifier(handle).image_size == INCEPTION_SIZE


def test_the_hash_is_of_names_and_contents(tmp_path):
    hashes = set()
    for name, content in (("a", "x"), ("a", "y"), ("b", "x")):
        folder = tmp_path / f"{name}{content}" / "variables"
        folder.mkdir(parents=True)
        (folder / name).write_text(content)
        hashes.add(saved_model_sha256(str(folder.parent)))
    assert len(hashes) == 3
    shutil.copytree(tmp_path / "ax", tmp_path / "copy")
    assert saved_model_sha256(str(tmp_path / "copy")) == saved_model_sha256(str(tmp_path / "ax"))


def test_the_small_classifier_is_exported_for_the_same_path(tiny, classifier_path):
    classifier = Classifier(classifier_path)
    assert classifier.image_size == 32
    outputs = classifier(tf.zeros((2, 32, 32, 3)))
    assert outputs["logits"].shape == (2, 10)
    assert outputs["pool_3"].shape == (2, 64)


def test_the_small_classifier_learns(tiny, tmp_path):
    output = tmp_path / "classifier"
    assert train_small_classifier(tiny.data, resolution=32, output=str(output), steps=60) > 0.8
    assert [path.name for path in tmp_path.iterdir()] == ["classifier"]
