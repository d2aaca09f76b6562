"""A run that commit e872773 made, with ``hamburger`` where there is a list of context modules now.

``run_e872773`` holds the run at step 4 and, in ``samples.png``, what ``hamgan sample --classes 3,7 --per_class 2 --seed
1`` of that version drew.
"""

import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

import hamgan
from hamgan.config import override
from hamgan.runs.directory import RunDirectory
from hamgan.sampling.grids import image_grid
from hamgan.training.gan import train

EARLIER = pathlib.Path(__file__).parent / "run_e872773"

STEP_6 = {
    "discriminator_loss": 2.1649770736694336,
    "generator_loss": -0.34965234994888306,
    "discriminator_gradient_norm": 15.70307731628418,
    "generator_gradient_norm": 4.72634220123291,
    "generator_sigma": -0.00014029938029125333,
    "discriminator_sigma": 0.0021344339475035667,
    "discriminator_largest_singular_value": 1.8169913291931152,
}
"""Metrics of that version, when it resumed the run and trained to step 6."""


@pytest.fixture
def run_path(tmp_path):
    return str(shutil.copytree(EARLIER, tmp_path / "run"))


def test_its_config_is_converted(run_path, tiny):
    config = RunDirectory(run_path).read_config()
    assert config.model == tiny.model
    assert len(config.model.generator.context) == 1


@pytest.mark.slow
def test_it_resumes_with_the_same_numbers(run_path, digits_dir):
    run = RunDirectory(run_path)
    config = override(run.read_config(), ["train.steps=6", f"data.data_dir={digits_dir}"])
    train(config, run, tf.distribute.get_strategy())
    rows = run.read_metrics()
    assert [row["step"] for row in rows] == [2, 4, 6]
    for name, value in STEP_6.items():
        assert rows[-1][name] == pytest.approx(value, rel=1e-4, abs=1e-7), name
    assert run.read_config() == config
    assert run.read_class_names(10) == [str(digit) for digit in range(10)]


def test_it_is_sampled_with_the_same_pictures(run_path):
    run = hamgan.load(run_path)
    assert (run.step, run.weights) == (4, "ema")
    images = run.sample(classes=["3", 7], per_class=2, seed=1)
    expected = tf.io.decode_png((EARLIER / "samples.png").read_bytes()).numpy()
    grid = image_grid(images, columns=2)
    assert np.abs(grid.astype(int) - expected).max() <= 1


@pytest.mark.slow
def test_it_is_evaluated_beside_its_earlier_result(run_path, digits_dir, classifier_path, tmp_path):
    run = RunDirectory(run_path)
    (earlier,) = run.evaluations.read()
    assert earlier["scores"]["fid"] == pytest.approx(383.63482197020625)
    arguments = {"classifier": classifier_path, "data_dir": digits_dir, "cache_dir": str(tmp_path / "cache")}
    (result,) = hamgan.evaluate(run_path, **arguments)
    assert np.isfinite(result["scores"]["fid"])
    assert [each["scores"] for each in run.evaluations.read() if each["card_id"] != result["card_id"]] == [
        earlier["scores"]
    ]
