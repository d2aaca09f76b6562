import dataclasses

import numpy as np
import pytest
import tensorflow_datasets as tfds
from dataset_helpers import NUM_CLASSES, pictures, write_dataset

from hamgan.config import FROM_DATASET, override
from hamgan.config.presets import digits, small_data
from hamgan.data.fitted_config import fitted_config
from hamgan.errors import UserError
from hamgan.networks.build import build_discriminator, build_generator


def _written(path, height, width, splits=("train",)):
    feature = tfds.features.Image(shape=(height, width, 3))
    shape = (12, height or 8, width or 8, 3)
    images = np.arange(np.prod(shape)).reshape(shape).astype(np.uint8)
    config = write_dataset(path, {name: (images, np.arange(12) % NUM_CLASSES) for name in splits}, feature)
    data = dataclasses.replace(config, train_split=FROM_DATASET, validation_split=FROM_DATASET)
    return dataclasses.replace(small_data(), data=data)


@pytest.mark.parametrize(("resolution", "context"), [(32, 16), (64, 32)])
def test_classes_resolution_and_splits_are_those_of_the_data_set(tmp_path, resolution, context):
    fitted = fitted_config(_written(tmp_path, resolution, resolution))
    assert fitted.model.num_classes == NUM_CLASSES
    assert fitted.model.resolution == resolution
    for network in (fitted.model.generator, fitted.model.discriminator):
        assert [module.resolution for module in network.context] == [context]
    assert (fitted.data.train_split, fitted.data.validation_split) == ("train[10%:]", "train[:10%]")
    expected = override(
        small_data(),
        [
            f"model.num_classes={NUM_CLASSES}",
            f"model.resolution={resolution}",
            f"model.generator.context.0.resolution={context}",
            f"model.discriminator.context.0.resolution={context}",
            *("data.dataset=given", f"data.data_dir={tmp_path}"),
            *("data.train_split=train[10%:]", "data.validation_split=train[:10%]"),
        ],
    )
    assert fitted == expected
    assert fitted_config(fitted) == fitted


def test_values_that_are_set_are_kept(tmp_path):
    config = _written(tmp_path, 32, 32, ("train", "test"))
    assignments = ["model.resolution=64", "model.num_classes=9", "model.generator.context.0.resolution=8"]
    fitted = fitted_config(override(config, assignments))
    assert fitted.model.resolution == 64
    assert fitted.model.num_classes == 9
    assert fitted.model.generator.context[0].resolution == 8
    assert fitted.model.discriminator.context[0].resolution == 32
    assert fitted.data.validation_split == "test"


@pytest.mark.parametrize(
    ("height", "width", "found"),
    [(None, None, "images of different sizes"), (28, 28, "images of 28x28"), (32, 64, "images of 32x64")],
)
def test_images_without_a_supported_resolution_are_named(tmp_path, height, width, found):
    message = rf"data set 'given' holds {found}; .* \(32, 64, 128, 256\), such as --override model.resolution=64"
    with pytest.raises(UserError, match=message):
        fitted_config(_written(tmp_path, height, width))


def test_explicit_configs_do_not_open_the_data_set():
    config = override(digits(), ["data.data_dir=/nonexistent", "model.generator.context.0.resolution=none"])
    fitted = fitted_config(config)
    assert fitted.model == digits().model
    assert fitted.data == config.data


def test_a_preset_without_a_data_set_asks_for_one():
    with pytest.raises(UserError, match="names no data set; pass --dataset NAME"):
        fitted_config(small_data())


def test_networks_are_not_built_without_values():
    names = ["num_classes", "resolution", "generator.context.0.resolution", "discriminator.context.0.resolution"]
    names = [f"model.{name}" for name in names]
    for build in (build_generator, build_discriminator):
        with pytest.raises(UserError, match=f"takes {', '.join(names)} from the data set.*; override them"):
            build(small_data().model)
    values = dict(zip(names, (3, 32, 16, 16), strict=True))
    for name in names:
        config = override(small_data(), [f"{other}={value}" for other, value in values.items() if other != name])
        with pytest.raises(UserError, match=f"takes {name} from the data set.*; override it"):
            build_generator(config.model)


def test_pictures_of_any_size_train_at_a_chosen_resolution(tmp_path):
    data = write_dataset(tmp_path, {"train": (pictures(4), [0, 1, 2, 0])})
    config = dataclasses.replace(small_data(), data=dataclasses.replace(data, validation_split=FROM_DATASET))
    with pytest.raises(UserError, match="no split 'validation' or 'test'"):
        fitted_config(config)
    whole = dataclasses.replace(config, data=data)
    assert fitted_config(override(whole, ["model.resolution=128"])).model.resolution == 128
