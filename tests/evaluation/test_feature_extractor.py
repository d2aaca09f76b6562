import threading
import types

import numpy as np
import pytest
import tensorflow as tf

from hamgan.evaluation.feature_extractor import FeatureExtractor

SIZE, BATCH, COUNT = 4, 2, 5
TIMEOUT = 30.0


@pytest.fixture
def extractor():
    classifier = types.SimpleNamespace(image_size=SIZE)
    return FeatureExtractor(classifier, "bilinear", tf.distribute.get_strategy(), BATCH)


def pixels(index):
    return np.full((SIZE, SIZE, 3), index, np.uint8)


def test_images_keep_their_order_and_the_last_batch_is_smaller(extractor, monkeypatch):
    monkeypatch.setattr(extractor, "_outputs", lambda images: {"pool_3": images[:, 0, 0, 0]})
    batches = [batch["pool_3"] for batch in extractor.of_pixels(range(COUNT), pixels)]
    expected = [np.arange(first, min(first + BATCH, COUNT)) / 127.5 - 1.0 for first in range(0, COUNT, BATCH)]
    for found, values in zip(batches, expected, strict=True):
        np.testing.assert_allclose(found, values, atol=1e-6)


def test_the_next_images_are_read_while_the_classifier_runs(extractor, monkeypatch):
    was_read = [threading.Event() for _ in range(COUNT)]

    def read(index):
        was_read[index].set()
        return pixels(index)

    classified = 0

    def classify(images):
        nonlocal classified
        classified += len(images)
        assert all(event.wait(TIMEOUT) for event in was_read[: classified + BATCH])
        return {"count": len(images)}

    monkeypatch.setattr(extractor, "_outputs", classify)
    assert sum(batch["count"] for batch in extractor.of_pixels(range(COUNT), read)) == COUNT


def test_features_before_a_damaged_image_are_kept(extractor, monkeypatch):
    monkeypatch.setattr(extractor, "_outputs", len)

    def read(index):
        if index == COUNT - 1:
            raise ValueError("damaged")
        return pixels(index)

    batches = extractor.of_pixels(range(COUNT), read)
    assert [next(batches), next(batches)] == [BATCH, BATCH]
    with pytest.raises(ValueError, match="damaged"):
        next(batches)
