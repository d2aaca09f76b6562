import os
import pathlib
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from hamgan.config import override, to_json
from hamgan.errors import UserError
from hamgan.run_directory import RunDirectory
from hamgan.training import loop
from hamgan.training.checkpointing import checkpoint_steps, latest_checkpoint
from hamgan.training.loop import TrainingDivergedError, train


def _train(config, path, *overrides):
    run = RunDirectory(str(path))
    train(override(config, overrides), run, tf.distribute.get_strategy())
    return run


def _values(run):
    reader = tf.train.load_checkpoint(latest_checkpoint(run.checkpoints))
    return {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if name.endswith("VARIABLE_VALUE") and not name.startswith("save_counter")
    }


def _assert_same_weights(one, other):
    ones, others = _values(one), _values(other)
    assert ones.keys() == others.keys()
    for name, value in ones.items():
        np.testing.assert_array_equal(value, others[name], err_msg=name)


def _copy(run, path):
    shutil.copytree(run.path, path)
    return RunDirectory(str(path))


@pytest.fixture(scope="module")
def tiny(tiny):
    """With two discriminator updates a step, so that a step does not take one batch."""
    return override(tiny, ["train.discriminator_updates=2"])


@pytest.fixture(scope="module")
def whole_run(tiny, tmp_path_factory):
    return _train(tiny, tmp_path_factory.mktemp("runs") / "whole", "train.image_every=3")


def test_a_run_leaves_config_log_checkpoints_pictures_and_events(tiny, whole_run):
    assert whole_run.read_config() == override(tiny, ["train.image_every=3"])
    assert [row["step"] for row in whole_run.read_metrics()] == [2, 3, 4, 6]
    row = whole_run.read_metrics()[-1]
    assert {"discriminator_loss", "generator_loss", "images_per_second", "generator_sigma"} <= row.keys()
    assert checkpoint_steps(whole_run.checkpoints) == [0, 2, 4, 6]
    assert list(whole_run.sample_grids()) == [0, 3, 6]
    with open(whole_run.samples_path(6), "rb") as file:
        assert tf.io.decode_png(file.read()).shape == (320, 320, 3)
    assert [name for name in os.listdir(whole_run.tensorboard) if "tfevents" in name]


def test_the_same_seed_gives_the_same_weights_however_steps_are_grouped(tiny, whole_run, tmp_path):
    _assert_same_weights(whole_run, _train(tiny, tmp_path / "again", "train.steps_per_loop=5"))


def test_another_seed_gives_other_weights(tiny, whole_run, tmp_path):
    other = _train(tiny, tmp_path / "other", "train.seed=1")
    kernels = [name for name in _values(other) if name.startswith("generator.Sblock") and "kernel" in name]
    assert kernels
    assert all((_values(other)[name] != _values(whole_run)[name]).any() for name in kernels)


def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(tiny, whole_run, tmp_path):
    run = _copy(whole_run, tmp_path / "run")
    for path in pathlib.Path(run.checkpoints).iterdir():
        if path.name.startswith(("ckpt-4", "ckpt-6")):
            path.unlink()
    assert checkpoint_steps(run.checkpoints) == [0, 2]
    _train(tiny, run.path, "train.image_every=3")
    _assert_same_weights(whole_run, run)
    assert [row["step"] for row in run.read_metrics()] == [2, 3, 4, 6]


KILLED_AFTER_LOGGING_STEP = """
import os, signal, sys
import tensorflow as tf
from hamgan.config import experiment_from_json
from hamgan.run_directory import RunDirectory
from hamgan.training.loop import train

class Killed(RunDirectory):
    def append_metrics(self, row):
        super().append_metrics(row)
        if row["step"] == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)

train(experiment_from_json(open(sys.argv[1]).read(), "test"), Killed(sys.argv[2]), tf.distribute.get_strategy())
"""


def test_a_killed_run_goes_on_to_the_same_weights(tiny, whole_run, tmp_path):
    config_path = tmp_path / "config.json"
    config_path.write_text(to_json(tiny))
    path = str(tmp_path / "run")
    result = subprocess.run(
        [sys.executable, "-c", KILLED_AFTER_LOGGING_STEP, str(config_path), path, "4"],
        stderr=subprocess.DEVNULL,
        check=False,
    )
    assert result.returncode == -signal.SIGKILL
    assert checkpoint_steps(RunDirectory(path).checkpoints) == [0, 2]
    run = _train(tiny, path)
    _assert_same_weights(whole_run, run)
    assert [row["step"] for row in run.read_metrics()] == [2, 4, 6]


def test_a_finished_run_is_left_as_it_is(tiny, whole_run, tmp_path):
    run = _copy(whole_run, tmp_path / "run")
    checkpoints = pathlib.Path(run.checkpoints)
    before = {path: path.stat().st_mtime_ns for path in checkpoints.iterdir()}
    _train(tiny, run.path, "train.image_every=3")
    assert {path: path.stat().st_mtime_ns for path in checkpoints.iterdir()} == before
    assert run.read_metrics() == whole_run.read_metrics()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["train.global_batch=8"], "begun with other settings: train.global_batch is 4 there, 8 now"),
        (["model.generator.hamburger.rank=3"], "model.generator.hamburger.rank is 2 there, 3 now"),
        (["train.steps=4"], "is at step 6, beyond train.steps 4"),
        (["model.num_classes=12"], "model.num_classes"),
    ],
)
def test_a_run_is_not_gone_on_with_under_other_settings(tiny, whole_run, overrides, message):
    paths = [pathlib.Path(path) for path in (whole_run.config_path, whole_run.metrics_path)]
    before = [path.read_text() for path in paths]
    with pytest.raises(UserError, match=message):
        _train(tiny, whole_run.path, *overrides)
    assert [path.read_text() for path in paths] == before


def test_nothing_is_written_for_settings_that_do_not_fit_the_data(tiny, tmp_path):
    with pytest.raises(
        UserError, match=r"has 10 classes, model.num_classes is 12; pass --override model.num_classes=10"
    ):
        _train(tiny, tmp_path / "run", "model.num_classes=12")
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_of_another_architecture_in_the_run_is_refused(tiny, whole_run, tmp_path):
    run = RunDirectory(str(tmp_path / "run"))
    run.create(override(tiny, ["model.generator.base_channels=3"]))
    shutil.copytree(whole_run.checkpoints, run.checkpoints)
    with pytest.raises(UserError, match="another architecture"):
        _train(tiny, run.path, "model.generator.base_channels=3")


def test_a_loss_that_is_not_finite_stops_before_anything_of_it_is_saved(tiny, tmp_path, monkeypatch):
    def diverge_after_two_steps(state, config, strategy):
        def run(iterator, num_steps):
            state.step.assign_add(tf.cast(num_steps, tf.int64))
            value = tf.constant(1.0 if state.step < 3 else float("nan"))
            return {"discriminator_loss": value, "generator_loss": value}

        return run

    monkeypatch.setattr(loop, "make_train_function", diverge_after_two_steps)
    with pytest.raises(TrainingDivergedError, match="discriminator_loss is nan between steps 2 and 4"):
        _train(tiny, tmp_path / "run")
    run = RunDirectory(str(tmp_path / "run"))
    assert checkpoint_steps(run.checkpoints) == [0, 2]
    assert [row["step"] for row in run.read_metrics()] == [2]


def test_settings_that_weights_do_not_depend_on_may_change(tiny, whole_run, tmp_path):
    run = _copy(whole_run, tmp_path / "run")
    _train(tiny, run.path, "train.steps=8", "train.max_to_keep=1", "evaluation.seed=3")
    assert checkpoint_steps(run.checkpoints) == [8]
    assert run.read_config().train.steps == 8
