import hashlib
import shutil
import socket
import urllib.error
import urllib.request

import keras
import numpy as np
import pytest
import tensorflow as tf

from hamgan.errors import UserError
from hamgan.evaluation.classifier import INCEPTION_SIZE, Classifier, saved_model_sha256
from hamgan.evaluation.small_classifier import train_small_classifier


class _Means(tf.Module):
    """A classifier that returns the mean color and the size of the image that it received."""

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
def test_images_are_resized_to_the_size_in_the_signature_or_to_299(tmp_path, size, expected):
    classifier = Classifier(_Means(size, ("logits", "pool_3")).save(str(tmp_path / "model")))
    images = _images()
    outputs = classifier(tf.constant(images))
    np.testing.assert_array_equal(outputs["pool_3"], np.full((5, 1), expected))
    resized = tf.image.resize(images, (expected, expected), method="bilinear", antialias=False)
    np.testing.assert_allclose(outputs["logits"], tf.reduce_mean(resized, (1, 2)), atol=1e-5)
    assert classifier.card()["image_size"] == expected


def test_gray_images_are_classified_as_rgb(tmp_path):
    classifier = Classifier(_Means(8, ("logits", "pool_3")).save(str(tmp_path / "model")))
    gray = _images()[..., :1]
    np.testing.assert_array_equal(classifier(tf.constant(gray))["logits"], classifier(gray.repeat(3, -1))["logits"])


EXPECTED = (
    r"; expected one that takes float32 images in \[-1, 1\] of shape \(None, size, size, 3\), where size may be None, "
    r"and returns a dictionary with logits and pool_3$"
)


class _Module(tf.Module):
    """A classifier with a configurable signature."""

    def __init__(self, *specs, outputs=("logits", "pool_3"), kind=dict):
        super().__init__()
        self._outputs = outputs
        self._kind = kind
        self._weight = tf.Variable(2.0)
        self._call = tf.function(self._classify, input_signature=specs)

    def _classify(self, *images):
        features = self._weight * tf.reduce_mean(tf.cast(images[0], tf.float32), (1, 2))
        named = {name: features + index for index, name in enumerate(self._outputs)}
        return named if self._kind is dict else self._kind(named.values())

    def named(self, *images):
        return dict(zip(self._outputs, self._classify(*images), strict=True))


def _saved(path, module, *, signature=None, with_call=True):
    if with_call:
        module.__call__ = module._call
    tf.saved_model.save(module, str(path), signatures=signature or module._call)
    return str(path)


def _images_spec(*shape, dtype=tf.float32):
    return tf.TensorSpec(shape, dtype, name="images")


@pytest.mark.parametrize(
    ("module", "found"),
    [
        (lambda: _Module(_images_spec(None, 8, 8, 3, dtype=tf.uint8)), r"takes uint8 of shape \(None, 8, 8, 3\) and"),
        (lambda: _Module(_images_spec(None, 3, 8, 8)), r"takes float32 of shape \(None, 3, 8, 8\) and"),
        (lambda: _Module(_images_spec(None, 8, 8, 1)), r"takes float32 of shape \(None, 8, 8, 1\) and"),
        (lambda: _Module(_images_spec(None, 8, 9, 3)), r"takes float32 of shape \(None, 8, 9, 3\) and"),
        (lambda: _Module(_images_spec(16, 8, 8, 3)), r"takes float32 of shape \(16, 8, 8, 3\) and"),
        (lambda: _Module(_images_spec(None, 8, 24)), r"takes float32 of shape \(None, 8, 24\) and"),
        (
            lambda: _Module(_images_spec(None, 8, 8, 3), tf.TensorSpec((), tf.bool, name="training")),
            r"takes float32 of shape \(None, 8, 8, 3\) and bool of shape \(\) and",
        ),
        (
            lambda: _Module(_images_spec(None, 8, 8, 3), outputs=("logits",)),
            r"takes float32 of shape \(None, 8, 8, 3\) and returns logits \(None, 3\)",
        ),
        (
            lambda: _Module(_images_spec(None, 8, 8, 3), outputs=("classes", "features")),
            r"takes .* and returns classes \(None, 3\), features \(None, 3\)",
        ),
    ],
)
def test_an_unsuitable_model_is_a_one_line_error_with_its_signatures(tmp_path, module, found):
    path = _saved(tmp_path / "model", module())
    with pytest.raises(UserError, match=rf"classifier .*model {found}.*{EXPECTED}") as raised:
        Classifier(path)
    assert len(str(raised.value).splitlines()) == 1


def test_a_saved_model_without_functions_is_rejected(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path / "model"))
    with pytest.raises(UserError, match=f"model has no function to call{EXPECTED}"):
        Classifier(str(tmp_path / "model"))


def _check(classifier):
    images = _images()
    outputs = classifier(tf.constant(images))
    np.testing.assert_allclose(outputs["logits"], 2 * images.mean((1, 2)), atol=1e-6)
    np.testing.assert_allclose(outputs["pool_3"], 2 * images.mean((1, 2)) + 1, atol=1e-6)


def test_a_model_with_only_a_signature_is_accepted(tmp_path):
    _check(Classifier(_saved(tmp_path / "model", _Module(_images_spec(None, 8, 8, 3)), with_call=False)))


def test_unnamed_outputs_take_names_from_the_signature(tmp_path):
    module = _Module(_images_spec(None, 8, 8, 3), kind=tuple)
    signature = tf.function(module.named, input_signature=[_images_spec(None, 8, 8, 3)])
    _check(Classifier(_saved(tmp_path / "model", module, signature=signature)))


def test_signatures_with_other_inputs_are_ignored(tmp_path):
    """An example is a signature for serving, which accepts uint8 images."""
    module = _Module(_images_spec(None, 8, 8, 3))
    signature = tf.function(module._classify, input_signature=[_images_spec(None, 8, 8, 3, dtype=tf.uint8)])
    _check(Classifier(_saved(tmp_path / "model", module, signature=signature)))


@pytest.mark.parametrize("named", [True, False])
def test_a_keras_export_needs_named_outputs(tmp_path, named):
    inputs = keras.Input((8, 8, 3))
    pool_3 = keras.layers.Flatten(name="pool_3")(inputs)
    logits = keras.layers.Dense(4, name="logits")(pool_3)
    outputs = {"logits": logits, "pool_3": pool_3} if named else [logits, pool_3]
    path = str(tmp_path / "model")
    keras.Model(inputs, outputs).export(path, verbose=False)
    if not named:
        with pytest.raises(UserError, match=rf"returns output_0 \(None, 4\), output_1 \(None, 192\){EXPECTED}"):
            Classifier(path)
        return
    images = _images()
    classifier = Classifier(path)
    assert classifier.image_size == 8
    np.testing.assert_allclose(classifier(tf.constant(images))["pool_3"], images.reshape(5, -1), atol=1e-6)
    assert classifier(tf.constant(images))["logits"].shape == (5, 4)


def test_a_dictionary_input_uses_the_signature(tmp_path):
    inputs = keras.Input((None, None, 3), name="images")
    pool_3 = keras.layers.GlobalAveragePooling2D()(inputs)
    path = str(tmp_path / "model")
    keras.Model({"images": inputs}, {"logits": 2 * pool_3, "pool_3": pool_3}).export(path, verbose=False)
    classifier = Classifier(path)
    assert classifier.image_size == INCEPTION_SIZE
    images = _images(size=INCEPTION_SIZE)
    np.testing.assert_allclose(classifier(tf.constant(images))["logits"], 2 * images.mean((1, 2)), atol=1e-6)


@pytest.mark.parametrize("name", ["a[1]", "a*", "what?"])
def test_pattern_characters_in_paths_are_literal(tmp_path, name):
    path = tmp_path / name / "model[2]"
    path.parent.mkdir()
    _check(Classifier(_saved(path, _Module(_images_spec(None, 8, 8, 3)))))


def test_a_missing_classifier_is_rejected(tmp_path):
    with pytest.raises(UserError, match=r"cannot be loaded .*pass --classifier"):
        Classifier(str(tmp_path / "nothing"))


def test_an_unreachable_handle_is_a_one_line_error_without_retries(monkeypatch, tmp_path):
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


def test_a_cached_handle_needs_no_network(monkeypatch, tmp_path):
    """The folder is named by the SHA-1 of the handle, as in docs/evaluation.md."""
    handle = "https://tfhub.dev/tensorflow/tfgan/eval/inception/1"
    _Means(None, ("logits", "pool_3")).save(str(tmp_path / hashlib.sha1(handle.encode()).hexdigest()))
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", None)
    assert Classifier(handle).image_size == INCEPTION_SIZE


def test_the_hash_depends_on_names_and_contents(tmp_path):
    hashes = set()
    for name, content in (("a", "x"), ("a", "y"), ("b", "x")):
        folder = tmp_path / f"{name}{content}" / "variables"
        folder.mkdir(parents=True)
        (folder / name).write_text(content)
        hashes.add(saved_model_sha256(str(folder.parent)))
    assert len(hashes) == 3
    shutil.copytree(tmp_path / "ax", tmp_path / "copy")
    assert saved_model_sha256(str(tmp_path / "copy")) == saved_model_sha256(str(tmp_path / "ax"))


def test_the_small_classifier_loads_like_any_other(tiny, classifier_path):
    classifier = Classifier(classifier_path)
    assert classifier.image_size == 32
    outputs = classifier(tf.zeros((2, 32, 32, 3)))
    assert outputs["logits"].shape == (2, 10)
    assert outputs["pool_3"].shape == (2, 64)


@pytest.mark.slow
def test_the_small_classifier_learns(tiny, tmp_path):
    output = tmp_path / "classifier"
    assert train_small_classifier(tiny.data, resolution=32, output=str(output), steps=60) > 0.8
    assert [path.name for path in tmp_path.iterdir()] == ["classifier"]
