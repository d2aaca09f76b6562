"""The compiled function that takes steps: other tests of training execute the same steps eagerly."""

import os
import shutil
import signal
import threading

import numpy as np
import pytest
import tensorflow as tf

from hamgan import random_streams
from hamgan.config import override
from hamgan.errors import PreemptedError
from hamgan.runs.checkpoints import (
    checkpoint_path,
    checkpoint_steps,
    delete_checkpoint,
    read_variables,
    variable_shapes,
)
from hamgan.runs.directory import RunDirectory
from hamgan.training import checkpoint_writer, gan
from hamgan.training.gan import train
from hamgan.training.state import TrainState
from hamgan.training.step import TrainStep
from hamgan.training.train_function import make_train_function


def _taken(config, steps, *, eagerly):
    """Takes steps from weights with active context modules; returns the metrics and all weights and slots."""
    state, strategy = TrainState(config), tf.distribute.get_strategy()
    for network in (state.generator, state.discriminator):
        network.context[0].sigma.assign(0.5)
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (8, config.train.global_batch, 32, 32, 3)).astype(np.float32)
    labels = rng.integers(0, 10, (8, config.train.global_batch)).astype(np.int32)
    batches = iter(tf.data.Dataset.from_tensor_slices((images, labels)))
    take_steps = make_train_function(TrainStep(state, config, strategy), strategy)
    tf.config.run_functions_eagerly(eagerly)
    try:
        taken = take_steps(batches, tf.constant(steps), random_streams.run_stream(0))
    finally:
        tf.config.run_functions_eagerly(False)
    assert (int(taken.count), int(taken.failed_step), bool(taken.weights_are_finite)) == (steps, -1, True)
    metrics = {name: float(value) for name, value in taken.metrics.items()}
    return metrics, {name: variable.numpy() for name, variable in state.variables().items()}


def test_compiled_steps_are_those_of_eager_execution(tiny):
    config = override(tiny, ["train.precision=float64"])
    (expected_metrics, expected), (metrics, values) = (_taken(config, 3, eagerly=eagerly) for eagerly in (True, False))
    assert metrics == pytest.approx(expected_metrics, rel=1e-6)
    for name, value in values.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-6, atol=1e-8, err_msg=name)


def _train(config, path, *overrides):
    run = RunDirectory(str(path))
    train(override(config, overrides), run, tf.distribute.get_strategy())
    return run


def _values(run):
    path = checkpoint_path(run.checkpoints, checkpoint_steps(run.checkpoints)[-1])
    return read_variables(path, list(variable_shapes(path)))


@pytest.mark.slow
def test_compiled_runs_have_the_same_weights_however_steps_are_grouped_and_resumed(tiny, tmp_path):
    whole = _train(tiny, tmp_path / "whole", "train.discriminator_updates=2")
    shutil.copytree(whole.path, tmp_path / "resumed")
    resumed = RunDirectory(str(tmp_path / "resumed"))
    for step in (2, 4, 6):
        delete_checkpoint(checkpoint_path(resumed.checkpoints, step))
    _train(tiny, resumed.path, "train.discriminator_updates=2", "train.steps_per_loop=5")
    values = _values(whole)
    assert checkpoint_steps(resumed.checkpoints) == checkpoint_steps(whole.checkpoints)
    assert values.keys() == _values(resumed).keys()
    for name, value in _values(resumed).items():
        np.testing.assert_array_equal(value, values[name], err_msg=name)


@pytest.mark.slow
def test_sigterm_interrupts_a_call_of_many_steps(tiny, tmp_path, monkeypatch):
    """The signal arrives in the third step of a call of a hundred thousand steps."""
    noticed = threading.Event()
    monkeypatch.setattr(checkpoint_writer.CheckpointWriter, "hurry", lambda _: noticed.set())

    def terminate():
        os.kill(os.getpid(), signal.SIGTERM)
        noticed.wait()

    class TerminatedStep(TrainStep):
        def __call__(self, real_batches, step, stream):
            metrics = super().__call__(real_batches, step, stream)
            with tf.control_dependencies(list(metrics.values())):
                at_third = tf.cond(
                    step == 2, lambda: tf.py_function(lambda: terminate() or 0.0, [], tf.float32), lambda: 0.0
                )
            with tf.control_dependencies([at_third]):
                return {name: tf.identity(metric) for name, metric in metrics.items()}

    monkeypatch.setattr(gan, "TrainStep", TerminatedStep)
    settings = [f"train.{name}=100000" for name in ("steps", "steps_per_loop", "checkpoint_every")]
    run = RunDirectory(str(tmp_path / "run"))
    with pytest.raises(PreemptedError, match="stopped by SIGTERM"):
        train(override(tiny, settings), run, tf.distribute.get_strategy())
    # The graph reads the flag up to ten iterations before the step.
    (saved,) = checkpoint_steps(run.checkpoints)[1:]
    assert 3 <= saved < 100
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
