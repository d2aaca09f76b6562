"""A new user follows docs/own_images.md with pictures of their own, at the smallest sizes."""

import json
import pathlib

import numpy as np
import pytest
import tensorflow_datasets as tfds
from page_blocks import CHECKOUT, hamgan_commands
from PIL import Image

import hamgan
from hamgan.cli.main import main

PAGE = CHECKOUT / "docs" / "own_images.md"
CLASSES = ("roses", "sunflowers", "tulips")
PICTURES_PER_CLASS = 12
RESOLUTION = 32
PER_CLASS = 10
"""Number of samples in a row of the picture."""
SCORES = "<h2>Scores</h2>"
ORIENTATION_TAG = 0x0112
INCEPTION = ["evaluate", "--run", "runs/flowers"]
"""The command that downloads a classifier from TensorFlow Hub."""
SMALL = {
    "prepare folder": ["--workers", "1"],
    "prepare classifier": ["--steps", "5"],
    "train": [
        "--override",
        "model.generator.base_channels=2",
        "model.discriminator.base_channels=2",
        "train.global_batch=4",
        "train.steps=2",
        "train.steps_per_loop=1",
        "train.checkpoint_every=1",
        "evaluation.num_samples=24",
        "evaluation.batch=8",
        "evaluation.neighbors_samples=0",
    ],
    "evaluate": ["--cache_dir", "features"],
}
"""Options that make each command quick."""


def draw_pictures(folder):
    """Writes class folders of small pictures: PNG files with alpha, GIF files, rotated and other JPEG files."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for index in range(PICTURES_PER_CLASS):
            pixels = rng.integers(0, 128, (40 + index, 60 - index, 3), np.uint8)
            pixels[..., label] += 127
            image = Image.fromarray(pixels)
            path = str(folder / name / f"picture {index}")
            if index == 0:
                image.putalpha(200)
                image.save(f"{path}.png")
            elif index == 1:
                image.save(f"{path}.gif")
            elif index == 2:
                exif = Image.Exif()
                exif[ORIENTATION_TAG] = 6
                image.save(f"{path}.jpg", exif=exif)
            else:
                image.save(f"{path}.jpg")


def small(words):
    """Returns a command of the page with small images and networks."""
    name = " ".join(words[:2] if words[0] == "prepare" else words[:1])
    size = {"128": str(RESOLUTION), "flowers/128": f"flowers/{RESOLUTION}"}
    return [*(size.get(word, word) for word in words), *SMALL.get(name, [])]


def follow(section):
    """Runs the commands of a section of the page."""
    commands = hamgan_commands(PAGE, section)
    assert commands
    for words in commands:
        if words != INCEPTION:
            assert main(small(words)) == 0, words
    return commands


@pytest.mark.slow
def test_the_page_leads_from_a_folder_of_pictures_to_samples_and_scores(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw_pictures(tmp_path / "photographs")

    follow("Prepare")
    prepared = tmp_path / "data" / "flowers" / str(RESOLUTION) / "1.0.0"
    assert "sunflowers" in (prepared / "preparation.html").read_text()
    assert json.loads((prepared / "preparation.json").read_text())["problems"] == []
    splits, info = tfds.load(f"flowers/{RESOLUTION}", data_dir="data", with_info=True)
    found = {example["file_name"].decode() for split in splits.values() for example in split.as_numpy_iterator()}
    assert found == {path.relative_to("photographs").as_posix() for path in pathlib.Path("photographs").glob("*/*")}
    assert info.splits["validation"].num_examples > 1

    follow("Train")
    run = tmp_path / "runs" / "flowers"
    config = json.loads((run / "config.json").read_text())
    assert (config["model"]["num_classes"], config["model"]["resolution"]) == (len(CLASSES), RESOLUTION)
    assert config["model"]["generator"]["context"][0]["resolution"] == 16
    assert config["data"]["dataset"] == f"flowers/{RESOLUTION}"
    assert (config["data"]["train_split"], config["data"]["validation_split"]) == ("train", "validation")
    assert SCORES not in (run / "report.html").read_text()
    trained = hamgan.load("runs/flowers")
    assert trained.step == 2
    assert tuple(trained.class_names) == CLASSES

    assert INCEPTION in follow("Look at the results")
    picture = np.asarray(Image.open("flowers.png"))
    assert picture.shape[0] == len(CLASSES) * RESOLUTION
    assert picture.shape[1] > PER_CLASS * RESOLUTION  # names of the classes
    samples = picture[:, -PER_CLASS * RESOLUTION :].reshape(len(CLASSES), RESOLUTION, PER_CLASS, RESOLUTION, 3)
    samples = samples.swapaxes(1, 2).reshape(len(CLASSES) * PER_CLASS, -1)
    assert len(np.unique(samples, axis=0)) == len(samples)
    (result,) = (run / "evaluations").glob("*.json")
    assert np.isfinite(json.loads(result.read_text())["scores"]["fid"])
    assert SCORES in (run / "report.html").read_text()
