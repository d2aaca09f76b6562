"""Class masks of whole images."""

import numpy as np
import pytest
import tensorflow as tf
from tiny_network import picture, tiny_hamnet

from hamgan.errors import UserError
from hamgan.layers.fixed_bases import decompositions
from hamgan.segmentation import HamNet, ResNet, SegNeXt
from hamgan.segmentation.data.augmentation import normalise
from hamgan.segmentation.prediction.inference import (
    MULTI_SCALE_FLIP,
    InferenceSettings,
    MaskPredictor,
    num_steps_at,
    padding_of,
)
from hamgan.segmentation.prediction.multi_scale import multi_scale_logits

KERNEL = tf.random.stateless_normal((5, 5, 3, 4), (1, 2))


def convolution(images):
    return tf.nn.conv2d(images, KERNEL, 1, "SAME")


@pytest.fixture(scope="module")
def network():
    return tiny_hamnet()


def test_single_scale_pads_to_one_modulo_eight(network):
    images = np.stack([picture(30, 41, seed) for seed in (0, 1)])
    masks = MaskPredictor(network)(images)
    padded = tf.pad(normalise(images), [(0, 0), (0, 3), (0, 0), (0, 0)])
    expected = network(padded, training=False)[:, :30].numpy().argmax(axis=-1)
    assert masks.dtype == np.uint8
    np.testing.assert_array_equal(masks, expected)
    assert len(np.unique(masks)) > 1


def test_multi_scale_and_flip():
    images = picture(33, 20)[np.newaxis]
    expected = multi_scale_logits(convolution, normalise(images)).numpy().argmax(axis=-1)
    np.testing.assert_array_equal(MaskPredictor(convolution, MULTI_SCALE_FLIP)(images), expected)
    assert (MaskPredictor(convolution)(images) != expected).any()


@pytest.mark.parametrize("combination", ["logits", "probabilities"])
def test_scales_and_their_combination_are_settings(combination):
    images = picture(20, 33)[np.newaxis]
    settings = InferenceSettings(ratios=[0.5, 1.5], combination=combination)
    arguments = {"ratios": (0.5, 1.5), "flip": False, "combination": combination}
    expected = multi_scale_logits(convolution, normalise(images), **arguments).numpy().argmax(axis=-1)
    np.testing.assert_array_equal(MaskPredictor(convolution, settings)(images), expected)


def test_windows_cover_large_images_and_see_their_part_only():
    images = picture(70, 51)[np.newaxis]
    windows = MaskPredictor(convolution, InferenceSettings(window=24, window_step=24))(images)
    assert windows.shape == (1, 70, 51)
    whole = MaskPredictor(convolution)(images)
    # The kernel reaches two pixels beyond the borders of windows; the last window of a side overlaps.
    inside = np.zeros((70, 51), bool)
    for top in (0, 24):
        for left in (0, 24):
            inside[top + 2 : top + 22, left + 2 : min(left + 22, 25)] = True
    np.testing.assert_array_equal(windows[0][inside], whole[0][inside])
    assert (windows != whole).any()


def test_images_smaller_than_the_window_are_whole():
    images = picture(17, 25)[np.newaxis]
    settings = InferenceSettings(window=64)
    np.testing.assert_array_equal(MaskPredictor(convolution, settings)(images), MaskPredictor(convolution)(images))


def test_number_of_iterations_is_a_setting(network):
    images = normalise(picture(33, 33)[np.newaxis])

    def logits(num_steps):
        with num_steps_at(network, num_steps):
            return network(images, training=False).numpy()

    (ham,) = decompositions(network)
    assert (ham.num_steps, ham.evaluation_steps) == (6, None)
    np.testing.assert_array_equal(logits(None), logits(6))
    assert np.abs(logits(1) - logits(6)).max() > 1e-6
    assert ham.evaluation_steps is None
    predictor = MaskPredictor(network, InferenceSettings(num_steps=1))
    masks = predictor(picture(33, 33)[np.newaxis])
    np.testing.assert_array_equal(masks, logits(1).argmax(axis=-1))


@pytest.mark.slow
def test_padding_follows_the_network(network):
    assert padding_of(network) == padding_of(convolution) == (8, 1)
    backbone = ResNet(depths=(1, 1, 1, 1), base_channels=2, output_stride=16)
    assert padding_of(HamNet(backbone, version=None, num_classes=2, head_channels=2, align_channels=2)) == (16, 1)
    small = {"widths": (2, 2, 2, 2), "depths": (1, 1, 1, 1), "head_channels": 4, "groups": 2}
    assert padding_of(SegNeXt("tiny", num_classes=2, **small)) == (32, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ratios": ()}, r"ratios: expected positive numbers, at least one, found \[\]"),
        ({"ratios": (0.5, -1)}, r"ratios: expected positive numbers, at least one, found \[0.5, -1\]"),
        ({"combination": "votes"}, "combination: expected logits or probabilities, found 'votes'"),
        ({"window": 0}, "window: expected a positive number of pixels, found 0"),
        ({"window_step": 8}, "window_step: expected together with a window, found 8 without"),
        ({"window": 8, "window_step": 9}, "window_step: expected 1 to the window's 8 pixels, found 9"),
        ({"num_steps": -1}, "num_steps: expected 0 or more iterations, found -1"),
    ],
)
def test_settings_out_of_range(arguments, message):
    with pytest.raises(UserError, match=message):
        InferenceSettings(**arguments)


def test_one_scale_has_nothing_to_combine():
    with pytest.raises(UserError, match="combination=probabilities: expected several scales, found one; pass --multi_"):
        InferenceSettings().changed(combination="probabilities")


def test_iterations_need_a_decomposition():
    with pytest.raises(UserError, match="expected a network with a matrix decomposition, found one without"):
        MaskPredictor(convolution, InferenceSettings(num_steps=3))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (InferenceSettings(), "single scale"),
        (MULTI_SCALE_FLIP, "MSFlip"),
        (InferenceSettings(window=513, num_steps=3), "single scale, windows of 513 every 342 pixels, K = 3"),
        (InferenceSettings(ratios=(0.5, 1), flip=True), "scales 0.5, 1, with flips, logits"),
    ],
)
def test_settings_in_words(settings, text):
    assert settings.describe() == text
