import numpy as np
import sklearn.datasets
import tensorflow_datasets as tfds


def _examples(digits_dir, split):
    return list(tfds.load("digits", data_dir=digits_dir, split=split).as_numpy_iterator())


def test_stock_tfds_reads_both_splits(digits_dir):
    train, validation = (_examples(digits_dir, split) for split in ("train", "validation"))
    assert len(train) + len(validation) == 1797
    assert train[0]["image"].shape == (32, 32, 3)
    assert train[0]["image"].dtype == np.uint8


def test_labels_match_the_source(digits_dir):
    source = sklearn.datasets.load_digits()
    flat = source.images.reshape(len(source.images), -1)
    for example in _examples(digits_dir, "validation")[:50]:
        # Averaging 4x4 tiles undoes the upsampling well enough to find the source image.
        small = example["image"][..., 0].reshape(8, 4, 8, 4).mean((1, 3)).ravel() * (16 / 255)
        nearest = np.argmin(((flat - small) ** 2).sum(1))
        assert source.target[nearest] == example["label"]


def test_validation_split_holds_a_fifth_of_every_class(digits_dir):
    train, validation = (
        np.bincount([example["label"] for example in _examples(digits_dir, split)]) for split in ("train", "validation")
    )
    np.testing.assert_allclose(validation / (train + validation), 0.2, atol=0.01)
