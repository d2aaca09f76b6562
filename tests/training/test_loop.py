import logging
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import hamgan
from hamgan import random_streams
from hamgan.config import override, to_json
from hamgan.data.dataset import ClassificationDataset
from hamgan.errors import FailedError, PreemptedError, UserError
from hamgan.runs.checkpoints import checkpoint_path, checkpoint_steps, delete_checkpoint, latest_checkpoint
from hamgan.runs.directory import LOCK_NAME, RunDirectory
from hamgan.runs.lock import RunLock
from hamgan.training import checkpoint_writer, loop
from hamgan.training.collapse import TrainingDivergedError
from hamgan.training.gan import train
from hamgan.training.logit_probe import LogitProbe
from hamgan.training.state import TrainState
from hamgan.training.step import METRIC_NAMES
from hamgan.training.train_function import StepsTaken, make_train_function

BASES = ("bases", "evaluation_bases")
TRAINING_BATCHES = ClassificationDataset.training_batches

pytestmark = pytest.mark.usefixtures("eager")


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


def _copy_until(run, step, path):
    """A copy without the checkpoints after ``step``, as if the run had been killed then."""
    copy = _copy(run, path)
    for later in checkpoint_steps(copy.checkpoints):
        if later > step:
            delete_checkpoint(checkpoint_path(copy.checkpoints, later))
    return copy


@pytest.fixture(scope="module")
def tiny(tiny):
    """Two discriminator updates per step, so that a step reads more than one batch."""
    return override(tiny, ["train.discriminator_updates=2"])


@pytest.fixture
def whole_run(tiny_run):
    return RunDirectory(tiny_run)


def test_a_run_leaves_config_log_checkpoints_pictures_and_events(tiny, whole_run):
    assert whole_run.read_config() == override(tiny, ["train.image_every=3"])
    assert [row["step"] for row in whole_run.read_metrics()] == [2, 3, 4, 6]
    row = whole_run.read_metrics()[-1]
    assert {"discriminator_loss", "generator_loss", "images_per_second", "generator_sigma"} <= row.keys()
    assert checkpoint_steps(whole_run.checkpoints) == [0, 2, 4, 6]
    assert list(whole_run.sample_grids()) == [0, 3, 6]
    with open(whole_run.samples_path(6), "rb") as file:
        assert tf.io.decode_png(file.read()).shape[0] == 10 * 32
    assert [name for name in os.listdir(whole_run.tensorboard) if "tfevents" in name]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_however_steps_are_grouped(tiny, whole_run, tmp_path):
    _assert_same_weights(whole_run, _train(tiny, tmp_path / "again", "train.steps_per_loop=5"))


@pytest.mark.slow
def test_another_seed_gives_other_weights(tiny, tmp_path, monkeypatch):
    _leave_out_networks(monkeypatch)
    initial, other = (
        _values(_train(tiny, tmp_path / seed, f"train.seed={seed}", "train.image_every=0")) for seed in "01"
    )
    kernels = [name for name in other if name.startswith("generator.Sblock") and "kernel" in name]
    assert kernels
    assert all((other[name] != initial[name]).any() for name in kernels)


def test_a_run_resumes_exactly_from_the_newest_checkpoint_that_can_be_read(tiny, whole_run, tmp_path, caplog):
    run = _copy_until(whole_run, 4, tmp_path / "run")
    assert checkpoint_steps(run.checkpoints) == [0, 2, 4]
    data = pathlib.Path(f"{checkpoint_path(run.checkpoints, 4)}.data-00000-of-00001")
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    caplog.set_level(logging.INFO, "hamgan")
    _train(tiny, run.path, "train.image_every=3")
    assert "ckpt-4 is damaged" in caplog.text
    assert "Resuming at step 2 of 6" in caplog.text
    _assert_same_weights(whole_run, run)
    assert [row["step"] for row in run.read_metrics()] == [2, 3, 4, 6]


@pytest.mark.slow
def test_augmentation_penalties_and_parts_of_a_batch_are_exact_after_a_resume(tiny, tmp_path):
    settings = [
        *(f"augmentation.{name}=true" for name in ("flip", "color", "translation", "cutout")),
        *("augmentation.probability=0.5", "regularization.r1=0.1", "regularization.r1_interval=3"),
        *("regularization.lecam=0.1", "regularization.consistency_real=1", "regularization.consistency_fake=1"),
        "train.accumulation=2",
    ]
    whole = _train(tiny, tmp_path / "whole", "train.steps=4", *settings)
    resumed = _copy_until(whole, 2, tmp_path / "resumed")
    _assert_same_weights(whole, _train(tiny, resumed.path, "train.steps=4", *settings))
    assert any("logit_averages" in name for name in _values(whole))


@pytest.mark.slow
def test_a_run_with_stored_bases_resumes_and_samples_with_them(tiny, tmp_path):
    sources = {"generator": "running", "discriminator": "fixed"}
    settings = [
        *(f"model.{network}.context.0.{name}={sources[network]}" for network in sources for name in BASES),
        *("train.ema_decay=0.9", "regularization.r1=0.1", "regularization.r1_interval=1"),
    ]
    whole = _train(tiny, tmp_path / "whole", "train.steps=4", *settings)
    resumed = _copy_until(whole, 2, tmp_path / "resumed")
    _assert_same_weights(whole, _train(tiny, resumed.path, "train.steps=4", *settings))
    reader = tf.train.load_checkpoint(latest_checkpoint(whole.checkpoints))
    state = TrainState(whole.read_config())
    for network in (state.generator, state.discriminator):
        source = sources[network.name]
        initial = getattr(network.context[0].ham, f"{source}_bases")
        (name,) = [name for name in _values(whole) if name.startswith(network.name + ".") and f"{source}_bases" in name]
        moved = np.abs(reader.get_tensor(name) - initial).max() > 1e-3
        assert moved == (source == "running")

    run = hamgan.load(whole.path)
    run.generator.context[0].sigma.assign(1.0)
    ham = run.generator.context[0].ham
    images = run.sample(classes=[3, 3], per_class=1, seed=1)
    np.testing.assert_array_equal(run.sample(classes=[3, 3], per_class=1, seed=1), images)
    ham.running_bases.assign(ham.running_bases[:, ::-1])
    assert (run.sample(classes=[3, 3], per_class=1, seed=1) != images).any()


KILLED_AFTER_LOGGING_STEP = """
import os, signal, sys
import tensorflow as tf
tf.config.run_functions_eagerly(True)
from hamgan.config import experiment_from_json
from hamgan.runs.directory import RunDirectory
from hamgan.training.gan import train

class Killed(RunDirectory):
    def append_metrics(self, rows):
        super().append_metrics(rows)
        if rows[-1]["step"] == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)

train(experiment_from_json(open(sys.argv[1]).read(), "test"), Killed(sys.argv[2]), tf.distribute.get_strategy())
"""


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_weights(tiny, whole_run, tmp_path):
    config_path = tmp_path / "config.json"
    config_path.write_text(to_json(tiny))
    path = str(tmp_path / "run")
    result = subprocess.run(
        [sys.executable, "-c", KILLED_AFTER_LOGGING_STEP, str(config_path), path, "4"],
        stderr=subprocess.DEVNULL,
        check=False,
    )
    assert result.returncode == -signal.SIGKILL
    # Checkpoints are written in the background, so the one of step 2 may be incomplete.
    assert checkpoint_steps(RunDirectory(path).checkpoints) in ([0], [0, 2])
    run = _train(tiny, path)
    _assert_same_weights(whole_run, run)
    assert [row["step"] for row in run.read_metrics()] == [2, 4, 6]


def test_a_finished_run_is_not_modified(tiny, whole_run, tmp_path):
    run = _copy(whole_run, tmp_path / "run")
    checkpoints = pathlib.Path(run.checkpoints)
    before = {path: path.stat().st_mtime_ns for path in checkpoints.iterdir()}
    _train(tiny, run.path, "train.image_every=3")
    assert {path: path.stat().st_mtime_ns for path in checkpoints.iterdir()} == before
    assert run.read_metrics() == whole_run.read_metrics()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["train.global_batch=8"], "started with other settings: train.global_batch is 4 there, 8 now"),
        (["model.generator.context.0.rank=3"], "model.generator.context.0.rank is 2 there, 3 now"),
        (["train.steps=4"], "is at step 6, beyond train.steps 4"),
        (["model.num_classes=12"], "model.num_classes"),
    ],
)
def test_a_run_is_not_resumed_with_other_settings(tiny, whole_run, overrides, message):
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


def test_a_checkpoint_of_another_architecture_is_rejected(tiny, whole_run, tmp_path):
    run = RunDirectory(str(tmp_path / "run"))
    run.create(override(tiny, ["model.generator.base_channels=3"]))
    shutil.copytree(whole_run.checkpoints, run.checkpoints)
    with pytest.raises(UserError, match="another architecture"):
        _train(tiny, run.path, "model.generator.base_channels=3")


@pytest.mark.slow
def test_a_collapse_stops_training_before_it_is_saved(tiny, tmp_path):
    with pytest.raises(TrainingDivergedError, match=r"is nan at step \d .*_gradient_norm .*--on_collapse rollback"):
        _train(tiny, tmp_path / "run", "train.discriminator_learning_rate=1e30")
    run = RunDirectory(str(tmp_path / "run"))
    (collapse,) = run.read_collapses()
    assert collapse["action"] == "stop"
    assert "nan" in collapse["values"].values()
    assert all(np.isfinite(value).all() for value in _values(run).values())
    assert checkpoint_steps(run.checkpoints) == [0]
    assert run.read_metrics() == []


def _without_networks(train_step, strategy, stop_requested):
    """Replaces ``make_train_function``: reads batches and counts steps without training."""
    metrics = {name: tf.zeros(()) for name in METRIC_NAMES}

    def run(iterator, num_steps, _):
        count = 0
        while count < num_steps and not stop_requested:
            for _ in range(train_step.config.discriminator_updates):
                next(iterator)
            train_step.state.step.assign_add(1)
            count += 1
        return StepsTaken(
            count=tf.constant(count),
            was_stopped=tf.identity(stop_requested),
            metrics=metrics,
            failed_step=tf.constant(-1, tf.int64),
            failed_metrics=metrics,
            weights_are_finite=tf.constant(True),
            singular_values=tf.ones(len(train_step.layers_with_singular_values)),
        )

    return run


def _leave_out_networks(monkeypatch):
    monkeypatch.setattr(loop, "make_train_function", _without_networks)
    monkeypatch.setattr(LogitProbe, "__call__", lambda _: {})


def _broken_after(batches, break_one):
    """Returns a replacement of ``training_batches`` that breaks all batches after the first ``batches``."""

    def training_batches(dataset, **settings):
        real = TRAINING_BATCHES(dataset, **settings)
        return real.enumerate().map(lambda index, batch: (break_one(index < batches, batch[0]), batch[1]))

    return training_batches


def _with_an_assertion(is_whole, images):
    with tf.control_dependencies([tf.debugging.Assert(is_whole, ["data set digits, split train: found label 12"])]):
        return tf.identity(images)


def _with_damaged_records(is_whole, images):
    return tf.cond(
        is_whole, lambda: images, lambda: tf.io.parse_tensor(tf.io.decode_compressed("?", "GZIP"), tf.float32)
    )


@pytest.mark.parametrize(
    ("break_one", "reason"),
    [
        (_with_an_assertion, "data set digits, split train: found label 12"),
        (_with_damaged_records, ".*"),
    ],
)
def test_unusable_data_is_a_one_line_error_and_checkpoints_are_kept(tiny, tmp_path, monkeypatch, break_one, reason):
    _leave_out_networks(monkeypatch)
    # Steps 1 to 4 read two batches each.
    monkeypatch.setattr(ClassificationDataset, "training_batches", _broken_after(9, break_one))
    with pytest.raises(
        UserError, match=rf"^training stopped after step 4: {reason}; what was saved is kept$"
    ) as raised:
        _train(tiny, tmp_path / "run", "train.steps_per_loop=1")
    assert "\n" not in str(raised.value)
    run = RunDirectory(str(tmp_path / "run"))
    assert checkpoint_steps(run.checkpoints) == [0, 2, 4]
    monkeypatch.setattr(ClassificationDataset, "training_batches", TRAINING_BATCHES)
    _train(tiny, tmp_path / "run")
    assert checkpoint_steps(run.checkpoints) == [0, 2, 4, 6]


def test_a_failing_device_is_a_one_line_error(tiny, tmp_path, monkeypatch):
    def make(*arguments):
        def run(*_):
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor\n\nHint: ...")

        return run

    monkeypatch.setattr(loop, "make_train_function", make)
    with pytest.raises(
        FailedError, match=r"^training stopped after step 0: OOM when allocating tensor; what was saved"
    ):
        _train(tiny, tmp_path / "run")


def test_a_run_that_another_process_trains_is_not_modified(tiny, whole_run):
    before = {path: path.read_bytes() for path in pathlib.Path(whole_run.path).rglob("*") if path.is_file()}
    lock = RunLock(whole_run)
    lock.acquire()
    with lock, pytest.raises(UserError, match=f"is being trained by process {os.getpid()} on"):
        _train(tiny, whole_run.path, "train.steps=8")
    del before[pathlib.Path(whole_run.path, LOCK_NAME)]
    assert all(path.read_bytes() == content for path, content in before.items())


def test_a_run_created_meanwhile_by_another_process_is_not_overwritten(tiny, tmp_path, monkeypatch):
    class SlowState(TrainState):
        def __init__(self, config):
            super().__init__(config)
            RunDirectory(str(tmp_path)).create(override(tiny, ["train.seed=9"]))

    monkeypatch.setattr("hamgan.training.gan.TrainState", SlowState)
    with pytest.raises(UserError, match=r"started with other settings: train\.seed is 9 there, 0 now"):
        _train(tiny, tmp_path)
    assert RunDirectory(str(tmp_path)).read_config().train.seed == 9


def test_a_full_disk_stops_a_resumed_run_before_training_with_one_line(tiny, whole_run, tmp_path, monkeypatch):
    def refuse(*_):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    run = _copy(whole_run, tmp_path / "run")
    pathlib.Path(run.path, LOCK_NAME).unlink()
    before = {path: path.read_bytes() for path in pathlib.Path(run.path).rglob("*") if path.is_file()}
    monkeypatch.setattr("hamgan.runs.directory.write_atomically", refuse)
    with pytest.raises(UserError, match=rf"^cannot write the run folder {run.path}: No space left on device$"):
        _train(tiny, run.path, "train.steps=8")
    assert all(path.read_bytes() == content for path, content in before.items())


@pytest.mark.parametrize("name", ["checkpoints", "metrics.jsonl", "collapses.json"])
def test_an_obstacle_in_place_of_a_file_is_a_one_line_error(tiny, whole_run, tmp_path, monkeypatch, name):
    _leave_out_networks(monkeypatch)
    path = pathlib.Path(_copy(whole_run, tmp_path / "run").path, name)
    if path.is_dir():
        shutil.rmtree(path)
        path.touch()
    else:
        path.unlink(missing_ok=True)
        path.mkdir()
    with pytest.raises(UserError, match=rf"^cannot read [^\n]*{path}: [^\n]+$"):
        _train(tiny, tmp_path / "run", "train.steps=8")


@pytest.mark.slow
def test_unwritable_curves_and_pictures_do_not_stop_training(tiny, tmp_path, monkeypatch, caplog):
    _leave_out_networks(monkeypatch)
    run = RunDirectory(str(tmp_path / "run"))
    run.create(override(tiny, ["train.image_every=6"]))
    for path in (run.samples, run.tensorboard):
        pathlib.Path(path).touch()
    _train(tiny, run.path, "train.image_every=6")
    assert checkpoint_steps(run.checkpoints) == [0, 2, 4, 6]
    for what in ("TensorBoard's file", "the samples"):
        assert f"Cannot write {what} in {run.path}" in caplog.text


def test_a_collapse_that_cannot_be_recorded_stops_the_run(tiny, tmp_path, monkeypatch):
    def refuse(*_):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    _leave_out_networks(monkeypatch)
    monkeypatch.setattr(loop, "describe_collapse", lambda *_: {"step": 1, "what": "generator_loss is inf"})
    monkeypatch.setattr(RunDirectory, "write_collapses", refuse)
    with pytest.raises(
        TrainingDivergedError, match=r"is inf; that cannot be recorded in .* \(No space left on device\)"
    ):
        _train(tiny, tmp_path / "run", "train.on_collapse=rollback")


@pytest.mark.slow
def test_sigterm_before_the_first_step_changes_nothing(tiny, tmp_path, monkeypatch):
    def make(*_):
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(loop, "make_train_function", make)
    with pytest.raises(PreemptedError, match="stopped by SIGTERM before the first step"):
        _train(tiny, tmp_path / "run")
    _leave_out_networks(monkeypatch)
    run = _train(tiny, tmp_path / "run")
    assert checkpoint_steps(run.checkpoints) == [0, 2, 4, 6]


def _collapsing_at(step, *, make_function=make_train_function, with_any_noise=False):
    """Wraps a train function: reports an infinite loss from ``step`` on, by default only with the old noise."""

    def make(train_step, strategy, stop_requested):
        train_function = make_function(train_step, strategy, stop_requested)
        first_stream = random_streams.run_stream(train_step.config.seed).numpy().tolist()

        def run(iterator, num_steps, stream):
            taken = train_function(iterator, num_steps, stream)
            if train_step.state.step < step or (stream.numpy().tolist() != first_stream and not with_any_noise):
                return taken
            failed = {**taken.metrics, "generator_loss": tf.constant(float("inf"))}
            return taken._replace(failed_step=tf.identity(train_step.state.step), failed_metrics=failed)

        return run

    return make


@pytest.mark.slow
def test_a_rollback_resumes_from_the_last_checkpoint_with_new_noise(tiny, whole_run, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(loop, "make_train_function", _collapsing_at(4))
    run = _train(tiny, tmp_path / "run", "train.on_collapse=rollback")
    (collapse,) = run.read_collapses()
    assert (collapse["action"], collapse["step"], collapse["resumed_from"]) == ("rollback", 4, 2)
    assert collapse["values"]["generator_loss"] == "inf"
    layers = {name.split("/")[0] for name in collapse["singular_values"]}
    assert layers == {"generator", "discriminator"}
    assert "generator_loss is inf at step 4" in caplog.text
    assert "rollback 1 of at most 3" in caplog.text
    assert [row["step"] for row in run.read_metrics()] == [2, 4, 6]
    assert any((_values(run)[name] != value).any() for name, value in _values(whole_run).items())

    # A run that is killed after the rollback resumes with the new noise and reaches the same weights.
    monkeypatch.undo()
    resumed = _copy_until(run, 2, tmp_path / "resumed")
    _assert_same_weights(run, _train(tiny, resumed.path, "train.on_collapse=rollback"))


@pytest.mark.slow
def test_rollbacks_are_counted_over_the_whole_run(tiny, tmp_path, monkeypatch):
    _leave_out_networks(monkeypatch)
    make = _collapsing_at(4, make_function=_without_networks, with_any_noise=True)
    monkeypatch.setattr(loop, "make_train_function", make)
    settings = ("train.on_collapse=rollback", "train.max_rollbacks=2", "train.image_every=0")
    for actions in (["rollback", "rollback", "stop"], ["rollback", "rollback", "resumed", "stop"]):
        with pytest.raises(TrainingDivergedError, match="was rolled back 2 times before"):
            _train(tiny, tmp_path / "run", *settings)
        run = RunDirectory(str(tmp_path / "run"))
        assert [collapse["action"] for collapse in run.read_collapses()] == actions
        assert checkpoint_steps(run.checkpoints) == [0, 2]


# The program waits until another thread has received the signal.
SIGTERM_AFTER_LOGGING_STEP = KILLED_AFTER_LOGGING_STEP.replace("SIGKILL)", "SIGTERM); noticed.wait()").replace(
    "class Killed",
    """
import threading
from hamgan.training.checkpoint_writer import CheckpointWriter

noticed = threading.Event()
CheckpointWriter.hurry = lambda writer: noticed.set()

class Killed""",
)


@pytest.mark.slow
def test_sigterm_saves_at_the_next_step_and_the_run_resumes_there(tiny, whole_run, tmp_path):
    config = override(tiny, ["train.checkpoint_every=6", "train.steps_per_loop=1"])
    path = str(tmp_path / "run")
    config_path = tmp_path / "config.json"
    config_path.write_text(to_json(config))
    result = subprocess.run(
        [sys.executable, "-c", SIGTERM_AFTER_LOGGING_STEP, str(config_path), path, "3"],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert "PreemptedError: stopped by SIGTERM after step 3, which is saved" in result.stderr
    assert checkpoint_steps(RunDirectory(path).checkpoints) == [0, 3]
    _assert_same_weights(whole_run, _train(config, path))


@pytest.mark.slow
def test_a_full_disk_does_not_stop_training(tiny, whole_run, tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    refused_steps = {2, 4}
    write = checkpoint_writer.write_checkpoint

    def write_or_refuse(path, variables):
        if int(path.rsplit("-", 1)[1]) in refused_steps:
            refuse()
        write(path, variables)

    monkeypatch.setattr(checkpoint_writer, "write_checkpoint", write_or_refuse)
    append = RunDirectory.append_metrics
    rows = []

    def append_or_refuse(run, new):
        rows.append(len(new))
        if len(rows) < 3:
            refuse()
        append(run, new)

    monkeypatch.setattr(RunDirectory, "append_metrics", append_or_refuse)
    run = _train(tiny, tmp_path / "run")
    assert "cannot write the checkpoint of step 2" in caplog.text
    assert "No space left on device" in caplog.text
    assert checkpoint_steps(run.checkpoints) == [0, 6]
    assert [row["step"] for row in run.read_metrics()] == [2, 4, 6]
    _assert_same_weights(whole_run, run)


def test_settings_that_weights_do_not_depend_on_may_change(tiny, whole_run, tmp_path, monkeypatch):
    _leave_out_networks(monkeypatch)
    run = _copy(whole_run, tmp_path / "run")
    _train(tiny, run.path, "train.steps=8", "train.max_to_keep=1", "train.image_every=0", "evaluation.seed=3")
    assert checkpoint_steps(run.checkpoints) == [8]
    assert run.read_config().train.steps == 8
