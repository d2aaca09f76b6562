import numpy as np
import pytest
import sklearn.datasets
import tensorflow_datasets as tfds

from hamgan.cli.hamnet import main
from hamgan.segmentation.data import scenes
from hamgan.segmentation.data.scenes import CLASS_NAMES, RESOLUTION, digits_of, draw_scene, photographs_of


def test_splits_share_neither_digits_nor_regions():
    train, validation = digits_of("train"), digits_of("validation")
    everything = sklearn.datasets.load_digits()
    assert len(train[1]) + len(validation[1]) == len(everything.target) == 1797
    assert not {digit.tobytes() for digit in train[0]} & {digit.tobytes() for digit in validation[0]}
    for _, labels in (train, validation):
        assert np.bincount(labels, minlength=10).min() > 20
    photographs = sklearn.datasets.load_sample_images().images
    for photograph, lower, upper in zip(
        photographs, photographs_of("train"), photographs_of("validation"), strict=True
    ):
        np.testing.assert_array_equal(np.concatenate([upper, lower]), photograph)
        assert min(*lower.shape[:2], *upper.shape[:2]) > RESOLUTION


def test_masks_follow_the_digits():
    photograph = np.full((140, 150, 3), 40, np.uint8)
    digits, labels = np.ones((2, 8, 8), np.float32), np.array([0, 7])
    for seed in range(5):
        image, mask = draw_scene(np.random.default_rng(seed), [photograph], digits, labels)
        assert image.shape == (RESOLUTION, RESOLUTION, 3)
        assert np.abs(image[mask == 0].astype(int) - 40).max() <= 22  # a tenth of the way to white
        # Every digit is bright enough to be seen.
        luminance = image @ np.array([0.299, 0.587, 0.114])
        assert np.abs(luminance[(mask == 1) | (mask == 8)] - 40).min() > 40
        assert set(np.unique(mask)) <= {0, 1, 8, 255}


def test_scenes_depend_on_the_seed_alone():
    arguments = photographs_of("train"), *digits_of("train")
    first, again, other = (draw_scene(np.random.default_rng(seed), *arguments) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[0] != other[0]).any()
    assert {0, 255} < set(np.unique(first[1])) <= {*range(len(CLASS_NAMES)), 255}


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(scenes, "NUM_SCENES", {"train": 5, "validation": 3})


def test_command_prepares_records(few, tmp_path, capsys):
    arguments = ["prepare", "scenes", "--data_dir", str(tmp_path)]
    assert main(arguments) == 0
    assert "5 train, 3 validation images" in capsys.readouterr().out
    assert main(arguments) == 0  # keeps them
    examples = list(tfds.load("scenes", data_dir=str(tmp_path), split="validation").as_numpy_iterator())
    assert len(examples) == 3
    rng = np.random.default_rng(2)
    drawn = [draw_scene(rng, photographs_of("validation"), *digits_of("validation")) for _ in range(3)]
    for example in examples:
        image, mask = drawn[int(example["file_name"].decode()[-8:-4])]
        np.testing.assert_array_equal(example["image"], image)
        np.testing.assert_array_equal(example["mask"][..., 0], mask)
    assert tfds.builder("scenes", data_dir=str(tmp_path)).info.features["mask"].names == list(CLASS_NAMES)


def test_folder_that_cannot_be_written_is_one_line(few, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["prepare", "scenes", "--data_dir", str(tmp_path / "file")]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith(f"hamnet prepare: error: cannot prepare the scenes in {tmp_path}/file: ")
