import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from hamgan.config import CropConfig, DataConfig, override
from hamgan.errors import UserError
from hamgan.segmentation.data.augmentation import MEAN, augment, draw_augmentation
from hamgan.segmentation.data.dataset import SegmentationDataset
from hamgan.segmentation.data.fitted_config import fitted_config
from hamgan.segmentation.data.mask_features import mask_features
from hamgan.segmentation.data.masks import IGNORED
from hamgan.segmentation.data.scenes import CLASS_NAMES
from hamgan.segmentation.data.varied_crop import with_varied_crop

CROP = CropConfig(crop=65, ratios=(0.5, 1.0, 1.5))


@pytest.fixture(scope="module")
def scenes(tiny_scenes):
    return SegmentationDataset(tiny_scenes.data)


def _first(batches, count):
    return [tuple(part.numpy() for part in batch) for batch in batches.take(count)]


def test_classes_and_sizes_are_those_of_the_data_set(scenes):
    assert scenes.class_names == list(CLASS_NAMES)
    assert scenes.num_classes == 11
    assert scenes.image_size == (128, 128)
    assert scenes.num_examples("validation") == 300


def test_training_batches_are_normalised_crops_with_masks(scenes):
    ((images, masks),) = _first(scenes.training_batches(CROP, batch=8, seed=3), 1)
    assert images.shape == (8, 65, 65, 3)
    assert masks.shape == (8, 65, 65)
    assert images.dtype == np.float32
    assert masks.dtype == np.uint8
    assert images.min() >= -MEAN[0] / 0.224 - 0.1
    assert images.max() < 2.7
    assert set(np.unique(masks)) <= {*range(11), IGNORED}
    # A ratio of 0.5 pads: the padding is the mean color and is ignored.
    padded = (masks == IGNORED) & (images == 0).all(axis=-1)
    assert padded.any()


def test_batches_depend_on_neither_hosts_nor_the_start(scenes):
    whole = _first(scenes.training_batches(CROP, batch=4, seed=5), 3)
    again = _first(scenes.training_batches(CROP, batch=4, seed=5, skip_examples=8), 1)
    shares = [_first(scenes.training_batches(CROP, batch=4, seed=5, host=host, num_hosts=2), 3) for host in range(2)]
    halves = _first(scenes.training_batches(CROP, batch=4, seed=5, batches_per_host=2), 6)
    for part in range(2):
        np.testing.assert_array_equal(again[0][part], whole[2][part])
        for index in range(3):
            for parts in ([share[index] for share in shares], halves[2 * index : 2 * index + 2]):
                np.testing.assert_array_equal(np.concatenate([each[part] for each in parts]), whole[index][part])


def test_augmentation_follows_the_place_in_training(scenes):
    """Without shuffling, the images of the first epoch and the draws are known."""
    dataset = SegmentationDataset(override_data(scenes.config, shuffle_buffer=1))
    stored = {image.tobytes(): (image, mask) for (image,), (mask,) in _first(dataset.evaluation_batches("train"), 1200)}
    crops = _first(dataset.training_batches(CROP, batch=4, seed=9), 2)
    sources = _first(dataset.training_batches(CropConfig(crop=128, ratios=(1.0,), flip=False), batch=4, seed=9), 2)
    for step, ((images, masks), (whole, _)) in enumerate(zip(crops, sources, strict=True)):
        for index in range(4):
            pixels = np.round((whole[index] * (0.229, 0.224, 0.225) + MEAN) * 255).astype(np.uint8)
            image, mask = stored[pixels.tobytes()]
            draws = draw_augmentation(tf.constant([128, 128]), 65, seed=9, step=step, index=index, ratios=CROP.ratios)
            expected = augment(tf.constant(image), tf.constant(mask), draws, 65)
            np.testing.assert_array_equal(images[index], expected[0])
            np.testing.assert_array_equal(masks[index], expected[1])


def test_crops_of_one_class_are_drawn_again(scenes):
    dataset = SegmentationDataset(override_data(scenes.config, shuffle_buffer=1))
    crop = CropConfig(crop=33, ratios=(1.0,), flip=False, align_corners=False, max_class_share=0.8)
    whole = CropConfig(crop=128, ratios=(1.0,), flip=False)
    ((found, found_masks),), ((images, masks),) = (
        _first(dataset.training_batches(each, batch=8, seed=9), 1) for each in (crop, whole)
    )
    changed = 0
    for index in range(8):
        place = {"seed": 9, "step": 0, "index": index}
        draws = draw_augmentation(tf.constant([128, 128]), 33, ratios=(1.0,), align_corners=False, **place)
        again = with_varied_crop(draws, tf.constant(masks[index]), 33, max_class_share=0.8, **place)
        rows, columns = (slice(int(first), int(first) + 33) for first in (again.top, again.left))
        np.testing.assert_array_equal(found_masks[index], masks[index][rows, columns])
        np.testing.assert_allclose(found[index], images[index][rows, columns], atol=1e-6)
        changed += (int(again.top), int(again.left)) != (int(draws.top), int(draws.left))
    assert 0 < changed < 8


def override_data(config, **changes):

    return dataclasses.replace(config, **changes)


def test_evaluation_reads_whole_images_in_order(scenes):
    batches = _first(scenes.evaluation_batches("validation", batch=2, last=5), 9)
    assert [len(images) for images, _ in batches] == [2, 2, 1]
    assert batches[0][0].shape == (2, 128, 128, 3)
    assert batches[0][0].dtype == np.uint8
    assert batches[0][1].shape == (2, 128, 128)
    ((image, mask),) = _first(scenes.evaluation_batches("validation", first=3, last=4), 1)
    np.testing.assert_array_equal(image[0], batches[1][0][1])
    np.testing.assert_array_equal(mask[0], batches[1][1][1])


def _written(path, masks, features=None):
    """Writes a data set whose masks hold given values."""

    class Odd(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            return tfds.core.DatasetInfo(builder=self, features=features or mask_features(("a", "b", "c")))

        def _split_generators(self, _dl_manager):
            return {"train": self._generate_examples(), "test": self._generate_examples()}

        def _generate_examples(self):
            for index, mask in enumerate(masks):
                yield (
                    index,
                    {"image": np.full((9, 7, 3), 90, np.uint8), "mask": mask[..., None], "file_name": f"{index}"},
                )

    Odd(data_dir=str(path)).download_and_prepare(file_format="tfrecord")
    return DataConfig(dataset="odd", data_dir=str(path), train_split=None, validation_split=None)


def test_classes_and_splits_come_from_the_data_set(tmp_path, tiny_scenes):
    data = _written(tmp_path, [np.full((9, 7), 2, np.uint8)] * 3)
    config = override(tiny_scenes, ["model.num_classes=none"])
    fitted = fitted_config(override_data(config, data=data))
    assert fitted.model.num_classes == 3
    assert (fitted.data.train_split, fitted.data.validation_split) == ("train", "test")
    assert fitted_config(fitted) is fitted


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.full((9, 7), 7, np.uint8), "data set odd, split train: found label 7 in a mask; expected 0 to 2, or 255"),
        (np.zeros((9, 6), np.uint8), "data set odd in .* cannot be read: .*an image and its mask differ in size"),
    ],
)
def test_wrong_masks_are_one_line_errors(tmp_path, mask, message):
    dataset = SegmentationDataset(_written(tmp_path, [np.zeros((9, 7), np.uint8), mask]))
    with pytest.raises(UserError, match=message) as error:
        dataset.training_batches(CropConfig(crop=5), batch=2, seed=0)
    assert "\n" not in str(error.value)


def test_a_data_set_without_masks_is_a_one_line_error(digits_dir):
    with pytest.raises(UserError, match=r"must have exactly one RGB Image and one LabeledImage .* found image"):
        SegmentationDataset(DataConfig(dataset="digits", data_dir=digits_dir))
