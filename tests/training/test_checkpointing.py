import gc
import os

import numpy as np
import pytest
import tensorflow as tf

from hamgan.config import override
from hamgan.errors import UserError
from hamgan.generator_checkpoint import find_checkpoints, load_generator
from hamgan.networks import build_generator
from hamgan.run_directory import RunDirectory
from hamgan.training.checkpointing import (
    Checkpoints,
    checkpoint_parts,
    checkpoint_path,
    checkpoint_steps,
    latest_checkpoint,
    restore,
)
from hamgan.training.state import TrainState, network_variables


@pytest.fixture(scope="module")
def state(tiny):
    state = TrainState(tiny)
    for index, variable in enumerate(state.variables().values()):
        if variable.dtype == tf.float32:
            variable.assign_add(tf.fill(variable.shape, 0.01 * index))
    return state


@pytest.fixture(scope="module")
def saved(state, tmp_path_factory):
    directory = str(tmp_path_factory.mktemp("run") / "checkpoints")
    checkpoints = Checkpoints(directory, state.variables(), max_to_keep=2)
    for step in (0, 5, 10):
        checkpoints.save(step)
    return directory


def test_every_variable_of_the_state_is_saved_and_restored(tiny, state, saved):
    other = TrainState(override(tiny, ["train.seed=9"]))
    names = {name for name, _ in tf.train.list_variables(latest_checkpoint(saved))}
    assert len([name for name in names if name.endswith("VARIABLE_VALUE")]) == len(state.variables()) + 1
    networks = (state.generator, state.discriminator, state.ema_generator)
    optimizers = (state.generator_optimizer, state.discriminator_optimizer)
    # Everything but the two learning rates, and the step.
    expected = sum(len(network.weights) for network in networks) + sum(len(opt.variables) - 1 for opt in optimizers)
    assert len(state.variables()) == expected + 1
    restore(latest_checkpoint(saved), other.variables())
    for name, variable in state.variables().items():
        np.testing.assert_array_equal(other.variables()[name].numpy(), variable.numpy(), err_msg=name)


def test_restoring_warns_of_nothing(tiny, saved, caplog):
    restore(latest_checkpoint(saved), TrainState(tiny).variables())
    load_generator(tiny.model, latest_checkpoint(saved), "ema")
    gc.collect()
    assert not [record for record in caplog.records if "checkpoint" in record.getMessage()]


def test_only_the_newest_are_kept(saved):
    assert checkpoint_steps(saved) == [5, 10]
    assert latest_checkpoint(saved) == checkpoint_path(saved, 10)
    assert checkpoint_steps(os.path.join(saved, "nothing")) == []


def test_parts_are_listed(saved):
    parts = checkpoint_parts(checkpoint_path(saved, 10))
    assert parts == {
        *("generator", "discriminator", "ema_generator", "generator_optimizer", "discriminator_optimizer", "step")
    }


@pytest.mark.parametrize("weights", ["ema", "raw"])
def test_a_generator_is_loaded_alone(tiny, state, saved, weights):
    source = state.ema_generator if weights == "ema" else state.generator
    loaded = load_generator(tiny.model, checkpoint_path(saved, 10), weights)
    for one, other in zip(loaded.weights, source.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=one.path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model.generator.base_channels=3", r"misshapen: generator/.* and \d+ more"),
        ("model.generator.hamburger=none", "unknown: generator/hamburger/batch_norm/beta"),
        ("model.generator.hamburger.version=v2", "missing: generator/hamburger/cheese/kernel"),
        ("model.resolution=64", "missing: .*generator/block4"),
    ],
)
def test_another_architecture_is_refused_and_nothing_is_touched(tiny, saved, change, message):
    generator = build_generator(override(tiny, [change]).model)
    before = [weight.numpy() for weight in generator.weights]
    with pytest.raises(UserError, match=f"another architecture.*{message}"):
        restore(checkpoint_path(saved, 10), network_variables(generator), part="generator")
    for weight, value in zip(generator.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)


def test_missing_and_damaged_checkpoints_are_told_apart(tiny, tmp_path):
    generator = build_generator(tiny.model)
    with pytest.raises(UserError, match="no checkpoint"):
        restore(str(tmp_path / "ckpt-1"), network_variables(generator))
    checkpoints = Checkpoints(str(tmp_path), network_variables(generator), max_to_keep=5)
    checkpoints.save(1)
    data = tmp_path / "ckpt-1.data-00000-of-00001"
    content = data.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    for damaged in (content[: len(content) // 2], bytes(flipped)):
        data.write_bytes(damaged)
        with pytest.raises(UserError, match=r"is damaged .*; delete .*ckpt-1\.\* to go on"):
            restore(str(tmp_path / "ckpt-1"), network_variables(generator))
    (tmp_path / "ckpt-1.index").write_bytes(b"garbage")
    with pytest.raises(UserError, match="is damaged"):
        restore(str(tmp_path / "ckpt-1"), network_variables(generator))


def test_weights_that_a_checkpoint_does_not_hold_are_refused(tiny, tmp_path):
    generator = build_generator(tiny.model)
    Checkpoints(str(tmp_path), network_variables(generator), max_to_keep=5).save(1)
    with pytest.raises(UserError, match="holds no ema generator weights; use --weights raw"):
        load_generator(tiny.model, str(tmp_path / "ckpt-1"), "ema")


def test_checkpoints_are_found_by_name(tiny, tmp_path):
    run = RunDirectory(str(tmp_path / "run"))
    run.create(tiny)
    with pytest.raises(UserError, match="no checkpoint in"):
        find_checkpoints(run, "latest")
    checkpoints = Checkpoints(run.checkpoints, network_variables(build_generator(tiny.model)), max_to_keep=5)
    for step in (2, 10):
        checkpoints.save(step)
    assert [step for step, _ in find_checkpoints(run, "all")] == [2, 10]
    assert find_checkpoints(run, "latest") == [(10, checkpoint_path(run.checkpoints, 10))]
    assert find_checkpoints(run, "2") == [(2, checkpoint_path(run.checkpoints, 2))]
    for wrong in ("3", "best", "-1"):
        with pytest.raises(UserError, match=r"latest, all or a step that was saved.* has 2, 10"):
            find_checkpoints(run, wrong)
