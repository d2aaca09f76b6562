"""Checks on labels and pixel ranges of decoded examples."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from dataset_helpers import pictures, record_files, rewrite_labels, write_dataset

from hamgan.data.dataset import ClassificationDataset
from hamgan.data.examples import CHECKED_EXAMPLES
from hamgan.errors import UserError

LABELS = np.arange(40) % 3
PREPROCESSED = tfds.features.Tensor(shape=(8, 8, 3), dtype=np.float32, encoding=tfds.features.Encoding.BYTES)


def _training(dataset):
    return dataset.training_batches(resolution=8, batch=40, seed=0).take(1)


def _evaluation(dataset):
    return dataset.evaluation_batches("train", resolution=8, batch=40)


def _test(dataset):
    return dataset.evaluation_batches("test", resolution=8, batch=40)


BATCHES = pytest.mark.parametrize("batches", [_training, _evaluation])


@pytest.fixture(scope="module", params=["photographs", "preprocessed"])
def late_label(request, tmp_path_factory):
    """Data set with one invalid label, after the examples that are checked up front."""
    path = tmp_path_factory.mktemp(request.param)
    if request.param == "photographs":
        config = write_dataset(path, {"train": (pictures(40), LABELS)})
    else:
        config = write_dataset(path, {"train": (pictures(40, np.float32, 1.0, -1.0), LABELS)}, PREPROCESSED)

    def with_label(label):
        (file,) = record_files(path)
        rewrite_labels(file, {CHECKED_EXAMPLES + 3: label})
        return ClassificationDataset(config)

    return with_label


@BATCHES
@pytest.mark.parametrize("label", [-1, 3, 2**40])
def test_label_out_of_range_is_one_line(late_label, batches, label):
    dataset = late_label(label)
    elements = batches(dataset)
    message = rf"^data set given, split train: found label {label}; expected 0 to 2 .*; choose another split$"
    with pytest.raises(UserError, match=message), dataset.reading("train"):
        list(elements.as_numpy_iterator())


def test_label_out_of_range_is_found_inside_a_graph(late_label):
    """Like the training function, whose step is compiled by XLA. XLA drops assertions inside the step."""
    dataset = late_label(3)

    @tf.function(jit_compile=True)
    def step(images, labels):
        return tf.reduce_sum(images) + tf.cast(tf.reduce_sum(labels), tf.float32)

    @tf.function
    def train(iterator):
        total = tf.zeros(())
        for _ in tf.range(3):
            total += step(*next(iterator))
        return total

    iterator = iter(dataset.training_batches(resolution=8, batch=40, seed=0))
    with pytest.raises(UserError, match="found label 3; expected 0 to 2"), dataset.reading():
        train(iterator)


def test_every_class_is_accepted(late_label):
    for label in (0, 2):
        dataset = late_label(label)
        (batch,) = _evaluation(dataset).as_numpy_iterator()
        assert batch[1][CHECKED_EXAMPLES + 3] == label


@pytest.mark.parametrize("split", ["train", "test"])
def test_split_without_labels_is_rejected_before_reading_batches(tmp_path, split):
    labels = {"train": LABELS, "test": LABELS, split: np.full(40, -1)}
    config = write_dataset(tmp_path, {name: (pictures(40), of) for name, of in labels.items()})
    dataset = ClassificationDataset(config)
    message = rf"data set given, split {split}: found label -1; expected 0 to 2 \(-1 marks a split without labels\)"
    for batches in (_training, _evaluation) if split == "train" else (_test,):
        with pytest.raises(UserError, match=message):
            batches(dataset)


def test_unrelated_errors_pass_through(late_label):
    dataset = late_label(0)
    with pytest.raises(tf.errors.InvalidArgumentError), dataset.reading():
        tf.reshape(tf.zeros(3), (2, 2))
    with pytest.raises(OSError, match="disk"), dataset.reading():
        raise OSError(5, "disk failed", "elsewhere")


GRAY = {"shape": (8, 8, 1)}
KINDS = {
    "uint8": (tfds.features.Image(shape=(8, 8, 3)), np.uint8, 0, 255),
    "uint16": (tfds.features.Image(shape=(8, 8, 3), dtype=np.uint16, encoding_format="png"), np.uint16, 0, 65_535),
    "float32": (tfds.features.Image(**GRAY, dtype=np.float32), np.float32, 0.0, 1.0),
    "preprocessed": (PREPROCESSED, np.float32, -1.0, 1.0),
}


def _dataset(path, kind, low, high):
    feature, dtype, _, _ = KINDS[kind]
    images = pictures(6, dtype, high, low)[..., : feature.shape[-1]]
    return ClassificationDataset(write_dataset(path, {"train": (images, LABELS[:6])}, feature)), images


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_every_kind_are_scaled_to_minus_one_to_one(tmp_path, kind):
    _, _, low, high = KINDS[kind]
    dataset, images = _dataset(tmp_path, kind, low, high)
    for batches in (
        dataset.evaluation_batches("train", resolution=8, batch=6),
        dataset.training_batches(resolution=8, batch=6, seed=0).take(1),
    ):
        ((found, _),) = batches.as_numpy_iterator()
        expected = (images.astype(np.float64) - low) / (high - low) * 2 - 1
        expected = np.broadcast_to(expected, found.shape)
        assert found.dtype == np.float32
        # Images are shuffled; match them by their means, which differ.
        order, expected_order = (np.argsort(each.mean((1, 2, 3))) for each in (found, expected))
        np.testing.assert_allclose(found[order], expected[expected_order], atol=1e-5)


WRONG = {
    "zeros and ones in uint8": ("uint8", 0, 1, "0 to 1; expected uint8 values from 0 to 255, the brightest above 1"),
    "8 bits in uint16": ("uint16", 0, 255, "0 to 255; expected uint16 values from 0 to 65535"),
    "12 bits in uint16": ("uint16", 0, 4095, "0 to 4095; expected uint16 values from 0 to 65535"),
    "0 to 255 in float": ("float32", 0.0, 255.0, "0 to 255; expected float32 values from 0 to 1"),
    "-1 to 1 in float": ("float32", -1.0, 1.0, "-1 to 1; expected float32 values from 0 to 1"),
    "divided by 255 twice": ("float32", 0.0, 1 / 255, "0 to 0.00392157; expected float32 values from 0 to 1"),
    "NaN": ("float32", 0.0, np.nan, "nan"),
    "infinity": ("float32", 0.0, np.inf, "inf"),
    "preprocessed, 0 to 1": ("preprocessed", 0.0, 1.0, "0 to 1; expected float32 values from -1 to 1, the darkest"),
    "preprocessed, 0 to 255": ("preprocessed", 0.0, 255.0, "0 to 255; expected float32 values from -1 to 1"),
    "preprocessed, NaN": ("preprocessed", -1.0, np.nan, "nan"),
}


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("case", WRONG)
def test_pixels_of_another_range_are_rejected(tmp_path, case):
    kind, low, high, message = WRONG[case]
    feature, dtype, _, _ = KINDS[kind]
    images = np.zeros((40, 8, 8, feature.shape[-1]), dtype)
    images[..., 0, :] = low
    images[..., 1, :] = high
    config = write_dataset(tmp_path, {"train": (images, LABELS)}, feature)
    dataset = ClassificationDataset(config)
    for batches in (_training, _evaluation):
        with pytest.raises(UserError, match=r"split train: the pixels of the first 32 images range from .*" + message):
            batches(dataset)


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_a_single_color_are_accepted(tmp_path, kind):
    dataset, _ = _dataset(tmp_path, kind, KINDS[kind][2], KINDS[kind][2])
    ((found, _),) = dataset.evaluation_batches("train", resolution=8, batch=6).as_numpy_iterator()
    np.testing.assert_allclose(found, -1)


def test_undecodable_example_is_one_line(tmp_path):
    config = write_dataset(tmp_path, {"train": (pictures(40), LABELS)})
    (file,) = record_files(tmp_path)
    records = [record.numpy() for record in tf.data.TFRecordDataset(str(file))]
    example = tf.train.Example.FromString(records[35])
    example.features.feature["image"].bytes_list.value[0] = b"not an image"
    records[35] = example.SerializeToString()
    with tf.io.TFRecordWriter(str(file)) as writer:
        for record in records:
            writer.write(record)
    dataset = ClassificationDataset(config)
    with pytest.raises(UserError, match=r"data set given in .* cannot be read: .*Unknown image"), dataset.reading():
        list(_evaluation(dataset))
