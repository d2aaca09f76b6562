import dataclasses
import logging

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from dataset_helpers import pictures, write_dataset

from hamgan.config import DataConfig
from hamgan.data.dataset import ClassificationDataset
from hamgan.errors import UserError

PREPROCESSED = tfds.features.Tensor(shape=(8, 8, 3), dtype=np.float32, encoding=tfds.features.Encoding.BYTES)


class Shapes(tfds.core.GeneratorBasedBuilder):
    """Six grayscale images of different sizes, with a feature besides image and label."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "id": tfds.features.Text(),
                    "picture": tfds.features.Image(shape=(None, None, 1)),
                    "kind": tfds.features.ClassLabel(names=["round", "square", "other"]),
                }
            ),
        )

    def _split_generators(self, _dl_manager):
        return {"everything": self._generate_examples()}

    def _generate_examples(self):
        for index in range(6):
            picture = np.full((20 + index, 30, 1), 40 * index, np.uint8)
            yield index, {"id": str(index), "picture": picture, "kind": index % 3}


class TwoLabels(Shapes):
    """Has two label features, neither of which is declared as the supervised one."""

    def _info(self):
        label = tfds.features.ClassLabel(num_classes=3)
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {"picture": tfds.features.Image(shape=(None, None, 1)), "kind": label, "color": label}
            ),
        )

    def _generate_examples(self):
        yield 0, {"picture": np.zeros((9, 9, 1), np.uint8), "kind": 0, "color": 0}


@pytest.fixture(scope="module")
def other_dir(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("other"))
    for builder in (Shapes, TwoLabels):
        builder(data_dir=path).download_and_prepare(file_format="tfrecord")
    return path


@pytest.fixture(scope="module")
def dataset(tiny):
    return ClassificationDataset(tiny.data)


def _stream(dataset, count, **kwargs):
    batches = dataset.training_batches(resolution=32, **{"batch": 16, "seed": 1, **kwargs}).take(count)
    images, labels = zip(*batches.as_numpy_iterator(), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def test_batches_hold_images_in_range_and_int32_labels(dataset):
    images, labels = _stream(dataset, 2)
    assert images.shape == (32, 32, 32, 3)
    assert images.dtype == np.float32
    assert images.min() == -1
    assert images.max() <= 1
    assert labels.dtype == np.int32
    assert set(labels) <= set(range(10))


def test_each_epoch_holds_every_example_once_in_a_new_order(dataset):
    size = dataset.num_examples("train")
    images, labels = _stream(dataset, 2 * size // 2, batch=2)
    first, second = images[:size], images[size : 2 * size]
    assert not np.array_equal(labels[:100], labels[size : size + 100])
    order = [np.lexsort(epoch.reshape(size, -1)[:, 100:900].T) for epoch in (first, second)]
    np.testing.assert_array_equal(first[order[0]], second[order[1]])


def test_training_batches_resume_after_any_number_of_examples(dataset):
    size = dataset.num_examples("train")
    images, labels = _stream(dataset, 200)
    for batches in (1, 3, size // 16 + 2, 150):
        later_images, later_labels = _stream(dataset, 2, skip_examples=16 * batches)
        np.testing.assert_array_equal(later_labels, labels[16 * batches : 16 * (batches + 2)])
        np.testing.assert_array_equal(later_images, images[16 * batches : 16 * (batches + 2)])


@pytest.fixture(scope="module")
def numbered(tmp_path_factory):
    """Data set of 96 examples in 8 files of 12; the brightness of an image is the index of its example."""

    class Numbered(Shapes, skip_registration=True):
        def _generate_examples(self):
            for index in range(96):
                yield index, {"id": str(index), "picture": np.full((32, 32, 1), index, np.uint8), "kind": index % 3}

    path = str(tmp_path_factory.mktemp("numbered"))
    options = tfds.download.DownloadConfig(num_shards=8)
    Numbered(data_dir=path).download_and_prepare(download_config=options, file_format="tfrecord")
    splits = {"train_split": "everything", "validation_split": "everything"}
    return ClassificationDataset(DataConfig("numbered", path, **splits, shuffle_buffer=24))


def _numbers(dataset, count, **kwargs):
    batches = dataset.training_batches(resolution=32, **{"batch": 16, "seed": 1, **kwargs}).take(count)
    return [np.rint((images[:, 0, 0, 0] + 1) * 127.5).astype(int) for images, _ in batches.as_numpy_iterator()]


def test_each_epoch_holds_every_example_once_with_several_streams(numbered):
    numbers = np.concatenate(_numbers(numbered, 12))
    for epoch in (numbers[:96], numbers[96:]):
        assert sorted(epoch) == list(range(96))
    assert not np.array_equal(numbers[:96], numbers[96:])
    # Each of the 8 streams owns one file of 12 examples and two rows of every batch.
    rows = np.reshape(numbers, (12, 8, 2))
    assert all(len(set(rows[:, stream].ravel())) == 12 for stream in range(8))


def test_several_streams_resume_after_any_number_of_examples(numbered):
    numbers = _numbers(numbered, 20)
    for batches in (1, 5, 6, 17):
        np.testing.assert_array_equal(_numbers(numbered, 2, skip_examples=16 * batches), numbers[batches : batches + 2])


@pytest.mark.slow
@pytest.mark.parametrize(("num_hosts", "batches_per_host"), [(1, 4), (2, 1), (2, 4), (8, 2), (16, 1)])
def test_hosts_read_their_own_rows_of_the_same_batches(numbered, num_hosts, batches_per_host):
    """Up to 8 hosts read disjoint files. With 16, each reads all files."""
    whole = np.stack(_numbers(numbered, 8))
    parts = [
        np.reshape(
            _numbers(numbered, 8 * batches_per_host, host=host, num_hosts=num_hosts, batches_per_host=batches_per_host),
            (8, -1),
        )
        for host in range(num_hosts)
    ]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


def test_indivisible_batch_is_rejected(numbered):
    for wrong in ({"skip_examples": 5}, {"num_hosts": 3}, {"batches_per_host": 32}):
        with pytest.raises(ValueError, match="must be a multiple"):
            _numbers(numbered, 1, **wrong)


def test_order_depends_on_the_seed_alone(dataset):
    _, labels = _stream(dataset, 8)
    tf.random.set_seed(77)
    np.testing.assert_array_equal(_stream(dataset, 8)[1], labels)
    assert not np.array_equal(_stream(dataset, 8, seed=2)[1], labels)


def test_evaluation_batches_cover_a_split_once_in_stored_order(dataset):
    batches = list(dataset.evaluation_batches("validation", resolution=32, batch=100).as_numpy_iterator())
    labels = np.concatenate([labels for _, labels in batches])
    assert len(labels) == dataset.num_examples("validation")
    limited = dataset.evaluation_batches("validation", resolution=32, batch=100, last=120).as_numpy_iterator()
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in limited]), labels[:120])


def test_features_are_found_under_any_name_and_grayscale_becomes_rgb(other_dir):
    config = DataConfig(dataset="shapes", data_dir=other_dir, train_split="everything", validation_split="everything")
    dataset = ClassificationDataset(config)
    assert dataset.num_classes == 3
    images, labels = _stream(dataset, 1, batch=6)
    assert images.shape == (6, 32, 32, 3)
    assert sorted(labels) == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("stored", ["photographs", "preprocessed"])
def test_batches_of_rgb_images_can_be_gray(tmp_path, stored):
    is_photograph = stored == "photographs"
    images = pictures(12) if is_photograph else pictures(12, np.float32, 1.0, -1.0)
    config = write_dataset(tmp_path, {"train": (images, [0] * 12)}, None if is_photograph else PREPROCESSED)
    dataset = ClassificationDataset(config)
    rgb, gray = (
        next(dataset.evaluation_batches("train", resolution=8, batch=12, channels=channels).as_numpy_iterator())[0]
        for channels in (3, 1)
    )
    np.testing.assert_allclose(gray, rgb.astype(np.float64) @ [[0.299], [0.587], [0.114]], atol=1e-6)
    first, _ = next(dataset.training_batches(resolution=8, batch=4, seed=0, channels=1).as_numpy_iterator())
    assert first.shape == (4, 8, 8, 1)


def test_split_can_be_a_slice(other_dir):
    config = DataConfig(
        dataset="shapes", data_dir=other_dir, train_split="everything[:50%]", validation_split="everything[50%:]"
    )
    dataset = ClassificationDataset(config)
    train, _ = _stream(dataset, 1, batch=3)
    validation, _ = next(dataset.evaluation_batches("everything[50%:]", resolution=32, batch=9).as_numpy_iterator())
    brightness = sorted(np.concatenate([train, validation])[:, 0, 0, 0])
    np.testing.assert_allclose(brightness, np.arange(6) * 80 / 255 - 1, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "digitz"}, "no data set 'digitz'"),
        ({"dataset": "mnist"}, "'mnist' is known but not prepared"),
        ({"dataset": "digits:9.9.9"}, "'digits:9.9.9' in .* cannot be opened: .*only: 1.0.0"),
        ({"train_split": "trian"}, "no split 'trian'; it has train, validation"),
        ({"validation_split": "train[:a%]"}, "has no split"),
        ({"data_dir": "/nonexistent"}, "'digits' is known but not prepared in /nonexistent"),
    ],
)
def test_missing_data_is_named(tiny, changes, message):
    with pytest.raises(UserError, match=message):
        ClassificationDataset(dataclasses.replace(tiny.data, **changes))


def test_data_set_with_two_label_features_is_rejected(other_dir):
    with pytest.raises(UserError, match="at most one ClassLabel feature, found kind, color"):
        ClassificationDataset(DataConfig("two_labels", other_dir, "everything", "everything"))


def test_data_set_without_labels_is_one_class_of_its_own_name(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="hamgan")
    for name, feature in (("photographs", None), ("preprocessed", PREPROCESSED)):
        images = pictures(12) if feature is None else pictures(12, np.float32, 1.0, -1.0)
        dataset = ClassificationDataset(write_dataset(tmp_path / name, {"train": (images, None)}, feature))
        assert (dataset.num_classes, dataset.class_names) == (1, ["given"])
        images, labels = next(dataset.evaluation_batches("train", resolution=8, batch=12).as_numpy_iterator())
        assert images.shape == (12, 8, 8, 3)
        assert (labels.dtype, labels.tolist()) == (np.int32, [0] * 12)
        _, labels = next(dataset.training_batches(resolution=8, batch=4, seed=0).as_numpy_iterator())
        assert labels.tolist() == [0] * 4
        assert "given has no ClassLabel feature: all images are of one class" in caplog.text


def test_unsupported_image_feature_is_named(tmp_path):
    uint8 = tfds.features.Tensor(shape=(8, 8, 3), dtype=np.uint8)
    config = write_dataset(tmp_path, {"train": (pictures(2), [0, 1])}, uint8)
    message = r"one Image feature \(or float32 Tensor .*\), found none among image \(Tensor\), label"
    with pytest.raises(UserError, match=message):
        ClassificationDataset(config)


@pytest.fixture(scope="module")
def imagenet_dir(tmp_path_factory):
    """Tiny ImageNet, as photographs and preprocessed, with at most three images per class."""
    from data_prep.fake_imagenet import write_fake_imagenet
    from data_prep.ilsvrc import synsets
    from data_prep.imagenet import Imagenet, Selection
    from data_prep.imagenet_forms import get_forms
    from data_prep.prepare import Request, prepare

    path = tmp_path_factory.mktemp("imagenet")
    fake = str(path / "fake")
    write_fake_imagenet(
        fake, layout="folders", classes=synsets()[:5], train_per_class=4, validation_per_class=1, flaws=False
    )
    sources = {"train": f"{fake}/train", "validation": f"{fake}/val"}
    collection = Imagenet(sources, Selection(per_class=3))
    prepare(Request(collection, str(path), get_forms(["original", "64"]), workers=1))
    return str(path)


def test_preprocessed_imagenet_gives_the_same_batches_as_the_photographs(imagenet_dir):
    streams, evaluations = [], []
    for name in ("imagenet2012", "imagenet_hamgan/64"):
        dataset = ClassificationDataset(DataConfig(name, imagenet_dir))
        batches = dataset.training_batches(resolution=64, batch=4, seed=5, skip_examples=8)
        streams.append(list(batches.take(6).as_numpy_iterator()))
        batches = dataset.evaluation_batches("validation", resolution=64, batch=4)
        evaluations.append(list(batches.as_numpy_iterator()))
    for one, other in (streams, evaluations):
        for (images, labels), (same_images, same_labels) in zip(one, other, strict=True):
            np.testing.assert_array_equal(images, same_images)
            np.testing.assert_array_equal(labels, same_labels)
            assert images.dtype == same_images.dtype == np.float32


def test_preprocessed_imagenet_rejects_another_resolution(imagenet_dir):
    dataset = ClassificationDataset(DataConfig("imagenet_hamgan/64", imagenet_dir))
    message = "holds images preprocessed to 64x64, but model.resolution is 128; use 'imagenet_hamgan/128'"
    with pytest.raises(UserError, match=message):
        dataset.training_batches(resolution=128, batch=4, seed=0)
    with pytest.raises(UserError, match=message):
        dataset.evaluation_batches("validation", resolution=128, batch=4)


def test_subset_is_announced(imagenet_dir, caplog):
    ClassificationDataset(DataConfig("imagenet_hamgan/64", imagenet_dir))
    assert "is a subset: at most 3 images per class" in caplog.text
