"""Saving and export of a model with the modules that pool, gate, or attend to bases, memories or channels."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from hamgan.layers import (
    ChannelAttention,
    EMAttention,
    ExternalAttention,
    GlobalContext,
    PyramidPooling,
    SegmentationContext,
    SqueezeExcitation,
)

BATCH, HEIGHT, WIDTH, CHANNELS = 2, 3, 5, 8


def layers():
    return [
        ChannelAttention(),
        EMAttention(num_bases=3),
        EMAttention(num_bases=4, gradient="unrolled", batch_norm="plain"),
        ExternalAttention(num_memories=3),
        GlobalContext(reduction=2, fusion="both"),
        PyramidPooling(scales=(1, 2)),
        SegmentationContext(4, 2, version="v2plus", batch_norm="plain"),
        SqueezeExcitation(reduction=2, spectral_norm=False),
    ]


def model(*size):
    inputs = keras.Input((*size, CHANNELS))
    outputs = inputs
    for layer in layers():
        outputs = layer(outputs)
        layer.sigma.assign(0.5)
    return keras.Model(inputs, outputs)


def images():
    return np.random.default_rng(0).normal(size=(BATCH, HEIGHT, WIDTH, CHANNELS)).astype(np.float32)


def test_models_are_saved_and_loaded(tmp_path):
    saved = model(None, None)
    saved(images(), training=True)  # Changes running bases and singular vectors.
    path = tmp_path / "model.keras"
    saved.save(path)
    np.testing.assert_array_equal(keras.models.load_model(path)(images()), saved(images()))


@pytest.mark.slow
def test_models_are_exported_as_saved_model(tmp_path):
    exported = model(None, None)
    exported.export(str(tmp_path), verbose=False)
    loaded = tf.saved_model.load(str(tmp_path))
    np.testing.assert_allclose(loaded.serve(tf.constant(images())), exported(images()), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_models_are_exported_as_tflite_with_built_in_operations():
    exported = model(HEIGHT, WIDTH)
    converter = tf.lite.TFLiteConverter.from_keras_model(exported)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    interpreter = tf.lite.Interpreter(model_content=converter.convert())
    (given,) = interpreter.get_input_details()
    interpreter.resize_tensor_input(given["index"], images().shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], images())
    interpreter.invoke()
    outputs = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(outputs, exported(images()), rtol=1e-4, atol=1e-5)
