"""Export of models with Hamburgers: SavedModel, TFLite with built-in operations only, and ONNX."""

import float64_reference as reference
import keras
import numpy as np
import pytest
import tensorflow as tf

from hamgan.architecture import HAM_NAMES
from hamgan.layers import Hamburger, SelfAttention
from hamgan.networks import Discriminator, Generator

BATCH, SHAPE = 2, (4, 6, 8)
TOLERANCE = 1e-5
LABELS = np.array([2, 0], np.int32)


def images(shape=SHAPE, seed=0):
    return np.random.default_rng(seed).normal(size=(BATCH, *shape)).astype(np.float32)


def functional(layer, batch=None):
    """A functional model of the layer with non-trivial, reproducible weights."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPE, batch_size=batch)
    model = keras.Model(inputs, layer(inputs))
    layer.sigma.assign(1.0)
    return model


def hamburger(ham, version, batch=None, **settings):
    sections = 2 if version == "v2" else 1
    layer = Hamburger(
        6, 3, ham=ham, version=version, num_sections=sections, num_steps=2, seed=0, name="context", **settings
    )
    return functional(layer, batch)


def network(name, **settings):
    keras.utils.set_random_seed(0)
    hamburger = {
        "module": "hamburger",
        "resolution": 8,
        "latent_dim": 6,
        "rank": 3,
        "num_steps": 1,
        "num_sections": 2,
        "ham": "cd",
        "version": "v2",
        **settings,
    }
    common = {"resolution": 32, "num_classes": 3, "base_channels": 2, "context": [hamburger]}
    model = Generator(z_dim=4, **common) if name == "generator" else Discriminator(**common)
    model.context[0].sigma.assign(1.0)
    return model, (images((4,)) if name == "generator" else images((32, 32, 3)), LABELS)


def run_tflite(converter, *arrays):
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    interpreter = tf.lite.Interpreter(model_content=converter.convert())
    # The interpreter reorders inputs; they differ in rank.
    by_rank = {array.ndim: array for array in arrays}
    for details in interpreter.get_input_details():
        interpreter.resize_tensor_input(details["index"], by_rank[len(details["shape"])].shape)
    interpreter.allocate_tensors()
    for details in interpreter.get_input_details():
        interpreter.set_tensor(details["index"], by_rank[len(details["shape"])])
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def run_onnx(model, path, *arrays):
    import onnxruntime

    model.export(path, format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(path)
    names = [each.name for each in session.get_inputs()]
    return session.run(None, dict(zip(names, arrays, strict=True)))[0]


def assert_close(outputs, expected):
    assert outputs.shape == expected.shape
    assert reference.relative_error(outputs, expected) < TOLERANCE


every_block = pytest.mark.parametrize(("ham", "version"), [(ham, v) for ham in HAM_NAMES for v in ("v1", "v2")])
every_network = pytest.mark.parametrize("name", ["generator", "discriminator"])


@pytest.mark.slow
@every_block
def test_hamburger_in_tflite(ham, version):
    model, x = hamburger(ham, version), images()
    assert_close(run_tflite(tf.lite.TFLiteConverter.from_keras_model(model), x), model.predict(x, verbose=0))


@pytest.mark.slow
@every_block
def test_hamburger_in_onnx(ham, version, tmp_path):
    model, x = hamburger(ham, version), images()
    expected = model.predict(x, verbose=0)
    assert_close(run_onnx(model, str(tmp_path / "model.onnx"), x), expected)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"evaluation_bases": "running"}, {"gradient": "unrolled"}, {"batch": BATCH}])
def test_hamburger_with_other_settings_in_tflite_and_onnx(settings, tmp_path):
    model, x = hamburger("cd", "v1", **settings), images()
    expected = model.predict(x, verbose=0)
    assert_close(run_tflite(tf.lite.TFLiteConverter.from_keras_model(model), x), expected)
    assert_close(run_onnx(model, str(tmp_path / "model.onnx"), x), expected)


@pytest.mark.slow
@pytest.mark.parametrize("ham", HAM_NAMES)
@pytest.mark.parametrize("way", ["export", "tf.saved_model.save"])
def test_hamburger_as_a_saved_model(ham, way, tmp_path):
    model, x, path = hamburger(ham, "v2"), images(), str(tmp_path / "saved")
    if way == "export":
        model.export(path, verbose=False)
    else:
        tf.saved_model.save(model, path)
    loaded = tf.saved_model.load(path)
    (outputs,) = loaded.signatures["serving_default"](tf.constant(x)).values()
    assert_close(outputs.numpy(), model.predict(x, verbose=0))


@pytest.mark.parametrize("way", ["export", "tf.saved_model.save"])
def test_random_bases_stay_random_in_a_saved_model(way, tmp_path):
    model, path = hamburger("nmf", "v1", evaluation_bases="random"), str(tmp_path / "saved")
    if way == "export":
        model.export(path, verbose=False)
    else:
        tf.saved_model.save(model, path)
    loaded = tf.saved_model.load(path)
    first, second = (loaded.signatures["serving_default"](tf.constant(images())) for _ in range(2))
    for name, outputs in first.items():
        assert np.abs(outputs - second[name]).max() > 1e-4


def test_self_attention_in_tflite_and_onnx(tmp_path):
    model, x = functional(SelfAttention()), images()
    expected = model.predict(x, verbose=0)
    assert_close(run_tflite(tf.lite.TFLiteConverter.from_keras_model(model), x), expected)
    assert_close(run_onnx(model, str(tmp_path / "model.onnx"), x), expected)


@pytest.mark.slow
@every_network
def test_network_without_a_signature(name, tmp_path):
    model, inputs = network(name, evaluation_bases="fixed")
    expected = model(*inputs).numpy()
    assert_close(run_onnx(model, str(tmp_path / "model.onnx"), *inputs), expected)
    model.export(str(tmp_path / "saved"), verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    np.testing.assert_array_equal(loaded.serve(*inputs), expected)
    assert_close(run_tflite(tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved")), *inputs), expected)


@pytest.mark.slow
@every_network
def test_network_as_published_in_tf_saved_model_save(name, tmp_path):
    model, inputs = network(name)
    tf.saved_model.save(model, str(tmp_path / "saved"))
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    named = dict(zip(("z" if name == "generator" else "images", "labels"), map(tf.constant, inputs), strict=True))
    (outputs,), (again,) = (loaded.signatures["serving_default"](**named).values() for _ in range(2))
    assert outputs.shape == model(*inputs).shape
    assert np.abs(outputs - again).max() > 1e-6  # Random bases stay random.
