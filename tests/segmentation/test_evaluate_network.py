"""Scores of a network on images with masks."""

import json

import numpy as np
import pytest
import tensorflow as tf
from tiny_network import CLASS_NAMES, picture, tiny_hamnet

from hamgan.errors import UserError
from hamgan.segmentation.data.augmentation import normalise
from hamgan.segmentation.data.masks import IGNORED
from hamgan.segmentation.evaluation.evaluate import ITERATIONS, evaluate_iterations, evaluate_network, iterations_table
from hamgan.segmentation.evaluation.scores import segmentation_scores
from hamgan.segmentation.prediction.inference import InferenceSettings

SIZES = [(20, 30), (20, 30), (20, 30), (17, 33), (20, 30)]


def strongest_channel(images):
    """A network of three classes: the strongest color of each normalised pixel."""
    return images


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(0)
    images = [picture(*size, seed) for seed, size in enumerate(SIZES)]
    return [(image, rng.choice([0, 1, 2, IGNORED], image.shape[:2]).astype(np.uint8)) for image in images]


def predicted(image):
    return normalise(image).numpy().argmax(axis=-1)


def expected_confusion(pairs):
    confusion = np.zeros((3, 3), np.int64)
    for image, mask in pairs:
        for truth, found in zip(mask.ravel(), predicted(image).ravel(), strict=True):
            if truth != IGNORED:
                confusion[truth, found] += 1
    return confusion


@pytest.mark.parametrize("batch", [1, 2])
def test_confusion_matrix_of_a_data_set(pairs, batch):
    evaluation = evaluate_network(strongest_channel, iter(pairs), class_names=CLASS_NAMES, batch=batch)
    confusion = expected_confusion(pairs)
    np.testing.assert_array_equal(evaluation.confusion, confusion)
    assert evaluation.num_images == 5
    assert evaluation.mean_iou == segmentation_scores(confusion).mean_iou
    assert evaluation.worst == ()


def test_only_neighbours_of_equal_size_share_a_batch(pairs):
    sizes = []

    def network(images):
        tf.py_function(lambda shape: sizes.append(tuple(shape.numpy()[:3])), [tf.shape(images)], [])
        return images

    evaluate_network(network, pairs, class_names=CLASS_NAMES, batch=2)
    assert sizes == [(2, 25, 33), (1, 25, 33), (1, 17, 33), (1, 25, 33)]


def test_worst_images_are_kept(pairs):
    of_images = [segmentation_scores(expected_confusion([pair])).mean_iou for pair in pairs]
    evaluation = evaluate_network(strongest_channel, pairs, class_names=CLASS_NAMES, keep_worst=3)
    assert [result.index for result in evaluation.worst] == np.argsort(of_images)[:3].tolist()
    for result in evaluation.worst:
        image, mask = pairs[result.index]
        assert result.mean_iou == of_images[result.index]
        np.testing.assert_array_equal(result.image, image)
        np.testing.assert_array_equal(result.mask, mask)
        np.testing.assert_array_equal(result.prediction, predicted(image))


def test_table_and_values():
    image = np.zeros((8, 8, 3), np.uint8)
    image[:, :6, 0] = 255
    image[:, 6:, 1] = 255
    mask = np.zeros((8, 8), np.uint8)
    mask[:, 4:] = 1
    evaluation = evaluate_network(strongest_channel, [(image, mask)], class_names=CLASS_NAMES)
    lines = evaluation.table().splitlines()
    assert [line.split() for line in lines[:4]] == [
        ["class", "IoU", "accuracy", "pixels"],
        ["ground", "66.67", "100.00", "50.00"],
        ["sky", "50.00", "50.00", "50.00"],
        ["sea", "-", "-", "0.00"],
    ]
    assert lines[4] == (
        "mIoU 58.33, pixel accuracy 75.00, mean accuracy 75.00, frequency-weighted IoU 58.33 % (1 image, single scale)"
    )
    values = json.loads(json.dumps(evaluation.values()))
    assert values["iou"][2] is None
    assert values["confusion"] == [[32, 0, 0], [16, 16, 0], [0, 0, 0]]
    assert values["settings"]["ratios"] == [1.0]


@pytest.mark.slow
def test_iterations_change_the_result():
    network = tiny_hamnet()
    pairs = [(picture(33, 41, seed), picture(33, 41, seed + 9)[..., 0] % 3) for seed in range(3)]
    results = evaluate_iterations(network, lambda: iter(pairs), num_steps=(1, 6), class_names=CLASS_NAMES)
    plain = evaluate_network(network, pairs, class_names=CLASS_NAMES)
    one = evaluate_network(network, pairs, class_names=CLASS_NAMES, settings=InferenceSettings(num_steps=1))
    np.testing.assert_array_equal(results[6].confusion, plain.confusion)
    np.testing.assert_array_equal(results[1].confusion, one.confusion)
    assert [line.split()[0] for line in iterations_table(results.values()).splitlines()] == ["K", "1", "6"]
    assert ITERATIONS == (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 30)


def test_mistakes_are_explained(pairs):
    image, mask = pairs[0]
    with pytest.raises(UserError, match="expected images with pixels of some class, found none"):
        evaluate_network(strongest_channel, [(image, np.full_like(mask, IGNORED))], class_names=CLASS_NAMES)
    with pytest.raises(
        UserError, match=r"expected a mask of the size of its image, found \(19, 30\) beside \(20, 30\)"
    ):
        evaluate_network(strongest_channel, [(image, mask[1:])], class_names=CLASS_NAMES)
    with pytest.raises(UserError, match="expected masks of the 3 classes of the network, found 2 classes"):
        evaluate_network(tiny_hamnet(), pairs, class_names=CLASS_NAMES[:2])
    with pytest.raises(UserError, match="expected 1 to 255 classes, found 0"):
        evaluate_network(strongest_channel, pairs, class_names=[])
