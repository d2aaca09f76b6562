"""Masks of images that are scaled to a short side first."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_network import picture

from hamgan.errors import UserError
from hamgan.segmentation import SegNeXt
from hamgan.segmentation.data.augmentation import normalise
from hamgan.segmentation.prediction import short_side
from hamgan.segmentation.prediction.inference import InferenceSettings, MaskPredictor
from hamgan.segmentation.prediction.multi_scale import RATIOS

KERNEL = tf.random.stateless_normal((5, 5, 3, 4), (1, 2))


def convolution(images):
    return tf.nn.conv2d(images, KERNEL, 1, "SAME")


def resized(images, size):
    return tf.image.resize(images, size)


def logits_of(network, images, size, scaled_size, network_size):
    """Logits of one scale, without the library's scaling."""
    pixels = tf.round(resized(tf.round(resized(images, scaled_size)), network_size))
    return resized(network(normalise(pixels)), size)


@pytest.fixture
def bands(monkeypatch):
    """Small bands, so that masks are composed of several."""
    monkeypatch.setattr(short_side, "_BAND", 200)


def test_whole_images(bands):
    image = picture(37, 50)[np.newaxis]
    found = MaskPredictor(convolution, InferenceSettings(short_side=64))(image)
    # 64 x 86.49, then sizes of 1 modulo 8, as for any function.
    expected = logits_of(convolution, image, (37, 50), (64, 86), (65, 89))
    np.testing.assert_array_equal(found, expected.numpy().argmax(axis=-1))
    assert (found != MaskPredictor(convolution)(image)).any()


def test_segnext_takes_multiples_of_32():
    keras.utils.set_random_seed(3)
    network = SegNeXt("tiny", num_classes=3, widths=(4, 4, 4, 4), depths=(1, 1, 1, 1), head_channels=8, groups=2)
    image = picture(50, 37)[np.newaxis]
    found = MaskPredictor(network, InferenceSettings(short_side=40, combination="probabilities"))(image)

    def logits(images):
        return network(images, training=False)

    expected = logits_of(logits, image, (50, 37), (54, 40), (64, 64)).numpy()
    is_clear = np.diff(np.sort(expected, axis=-1)[..., -2:])[..., 0] > 1e-5  # Rounding does not decide.
    assert is_clear.mean() > 0.98
    np.testing.assert_array_equal(found[is_clear], expected.argmax(axis=-1)[is_clear])


@pytest.mark.parametrize("combination", ["logits", "probabilities"])
def test_scales_and_flips(bands, combination):
    image = picture(20, 33)[np.newaxis]
    settings = InferenceSettings(combination=combination, short_side=32).changed(multi_scale=True)
    assert settings.ratios == RATIOS
    total = 0
    # Of 20 x 33: short sides 16, 24, 32, 40, 48 and 56.
    sides = {(16, 26): (17, 33), (24, 40): (25, 41), (32, 53): (33, 57)}
    sides |= {(40, 66): (41, 73), (48, 79): (49, 81), (56, 92): (57, 97)}
    for scaled, padded in sides.items():
        for step in (1, -1):
            logits = logits_of(convolution, image[:, :, ::step], (20, 33), scaled, padded)
            total += (logits if combination == "logits" else tf.nn.softmax(logits))[:, :, ::step]
    found = MaskPredictor(convolution, settings)(image)
    np.testing.assert_array_equal(found, total.numpy().argmax(axis=-1))


def test_windows_are_in_the_scaled_image():
    image = picture(30, 100)[np.newaxis]
    seen = []

    def constant(images):
        seen.append(images.shape[1:3])
        return tf.stack([tf.reduce_mean(images, -1), tf.zeros(images.shape[:3])], axis=-1)

    tf.config.run_functions_eagerly(True)
    try:
        settings = InferenceSettings(short_side=57, window=49, window_step=40)
        found = MaskPredictor(constant, settings)(image)
    finally:
        tf.config.run_functions_eagerly(False)
    assert seen == [(49, 49)] * 10  # 57 x 190, resized to 57 x 193: rows 0 and 8, columns 0, 40, 80, 120 and 144.
    # Each window gives a pixel the same logits.
    expected = logits_of(constant, image, (30, 100), (57, 190), (57, 193))
    np.testing.assert_array_equal(found, expected.numpy().argmax(axis=-1))


def test_settings():
    settings = InferenceSettings(short_side=512)
    assert settings.describe() == "single scale, short side 512"
    assert settings.changed(short_side=256) == InferenceSettings(short_side=256)
    assert settings.values()["short_side"] == 512
    # Files of earlier versions have no such entry.
    assert "short_side" not in InferenceSettings().values()
    with pytest.raises(UserError, match="short_side: expected a positive number of pixels, found 0"):
        InferenceSettings(short_side=0)
