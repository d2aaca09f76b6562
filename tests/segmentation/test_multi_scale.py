from functools import partial

import numpy as np
import pytest
import tensorflow as tf
from golden_seg import load_golden, relative_error

from hamgan.segmentation.data.resizing import resize_aligned
from hamgan.segmentation.prediction.multi_scale import (
    RATIOS,
    multi_scale_logits,
    pad_to_stride,
    single_scale_logits,
)
from hamgan.segmentation.prediction.sliding_windows import sliding_window_logits


@pytest.fixture(scope="module")
def golden():
    return load_golden("msflip")


@pytest.fixture(scope="module")
def network(golden):
    """The network of the golden file: 3 * tanh(conv 5x5 + bias), which records the sizes that it is called with."""
    kernel = tf.constant(golden["conv_weight"].transpose(2, 3, 1, 0))

    def call(images):
        call.sizes.append(tuple(images.shape[1:3]))
        padded = tf.pad(images, [(0, 0), (2, 2), (2, 2), (0, 0)])
        return 3 * tf.tanh(tf.nn.conv2d(padded, kernel, 1, "VALID") + golden["conv_bias"])

    call.sizes = []
    return call


def test_published_multi_scale_and_flip(golden, network):
    network.sizes.clear()
    assert golden["scales"].tolist() == list(RATIOS)
    logits = multi_scale_logits(network, tf.constant(golden["image"])).numpy()
    np.testing.assert_array_equal(network.sizes, golden["padded_sizes"])
    assert relative_error(logits, golden["logit_sum"]) < 1e-5
    np.testing.assert_array_equal(logits[0].argmax(axis=-1), golden["prediction"])


def test_sizes_may_be_unknown(golden, network):
    images = tf.constant(golden["image"])
    multi_scale = partial(multi_scale_logits, network, ratios=(0.7,))
    function = tf.function(multi_scale, input_signature=[tf.TensorSpec((None, None, None, 3))])
    assert relative_error(function(images), multi_scale(images)) < 1e-6


def _resized(values, size):
    """Bilinear resizing with aligned corners in float64."""
    for axis, out in ((0, size[0]), (1, size[1])):
        length = values.shape[axis]
        place = np.arange(out) * ((length - 1) / max(out - 1, 1))
        low = np.minimum(place.astype(int), length - 1)
        high = np.minimum(low + 1, length - 1)
        shape = [-1 if each == axis else 1 for each in range(3)]
        share = (place - low).reshape(shape)
        values = values.take(low, axis) * (1 - share) + values.take(high, axis) * share
    return values


@pytest.mark.parametrize("size", [(7, 5), (20, 1), (3, 31), (11, 13)])
def test_resizing_aligns_corners(size):
    image = np.random.default_rng(0).standard_normal((11, 13, 4))
    found = resize_aligned(tf.constant(image[np.newaxis], tf.float32), size)
    np.testing.assert_allclose(found[0], _resized(image, size), atol=2e-6)
    assert resize_aligned(tf.zeros((1, 3, 3, 1), tf.bfloat16), size).dtype == tf.bfloat16


def test_probabilities_are_averaged(golden, network):
    image = golden["image"]
    ratios, total = (0.75, 1.5), 0
    for flipped in (False, True):
        oriented = image[0][:, ::-1] if flipped else image[0]
        for ratio in ratios:
            size = [int(ratio * side) for side in image.shape[1:3]]
            scaled = tf.constant(_resized(oriented.astype(np.float64), size)[np.newaxis], tf.float32)
            logits = _resized(single_scale_logits(network, scaled)[0].numpy().astype(np.float64), image.shape[1:3])
            probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
            total = total + (probabilities[:, ::-1] if flipped else probabilities)
    found = multi_scale_logits(network, tf.constant(image), ratios=ratios, combination="probabilities")
    np.testing.assert_allclose(found[0], total / 4, atol=1e-5)


def test_single_scale_pads_with_the_mean_color_and_255(golden, network):
    network.sizes.clear()
    images = tf.constant(golden["image"][:, :34, :33])
    logits = single_scale_logits(network, images)
    assert network.sizes == [(41, 33)]
    np.testing.assert_array_equal(logits, network(tf.pad(images, [(0, 0), (0, 7), (0, 0), (0, 0)]))[:, :34])
    mask = pad_to_stride(tf.ones((1, 9, 10, 1), tf.uint8), value=255)
    assert mask.shape == (1, 9, 17, 1)
    assert (mask[:, :, 10:].numpy() == 255).all()


@pytest.mark.parametrize(("window", "step"), [(16, 16), (20, 13), (25, 7), (64, 64)])
def test_sliding_windows_cover_every_pixel(golden, window, step):
    images = tf.constant(golden["image"])
    # Without a receptive field, windows make no difference.
    found = sliding_window_logits(lambda part: 2.0 * part, images, window=window, step=step)
    np.testing.assert_allclose(found, 2.0 * images, rtol=1e-6)


def test_sliding_windows_are_averaged():
    found = sliding_window_logits(
        lambda part: tf.fill((1, part.shape[1], part.shape[2], 1), tf.reduce_max(part)),
        tf.reshape(tf.range(5.0), (1, 1, 5, 1)),
        window=3,
        step=1,
    )
    np.testing.assert_allclose(found.ravel(), [2, 2.5, 3, 3.5, 4])


@pytest.mark.parametrize("arguments", [{"ratios": ()}, {"combination": "votes"}])
def test_unknown_combinations_are_refused(arguments):
    with pytest.raises(ValueError, match="expected at least one ratio and a combination"):
        multi_scale_logits(lambda images: images, tf.zeros((1, 9, 9, 3)), **arguments)


def test_windows_with_gaps_are_refused():
    with pytest.raises(ValueError, match="step must be from 1 to the window, received 9 and 8"):
        sliding_window_logits(lambda images: images, tf.zeros((1, 9, 9, 3)), window=8, step=9)
