import gc
import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from hamgan.config import override
from hamgan.errors import UserError
from hamgan.networks.build import build_generator
from hamgan.runs.checkpoints import (
    checkpoint_parts,
    checkpoint_path,
    checkpoint_steps,
    delete_checkpoint,
    delete_unfinished,
    latest_checkpoint,
    network_variables,
    open_checkpoint,
    restore,
    restore_newest,
    write_checkpoint,
)
from hamgan.runs.directory import RunDirectory
from hamgan.sampling.trained_weights import find_checkpoints, load_generator
from hamgan.training.state import TrainState


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
    for step in (5, 10):
        write_checkpoint(checkpoint_path(directory, step), state.variables())
    return directory


def test_every_variable_of_the_state_is_saved_and_restored(tiny, state, saved):
    other = TrainState(override(tiny, ["train.seed=9"]))
    names = {name for name, _ in tf.train.list_variables(latest_checkpoint(saved))}
    assert len([name for name in names if name.endswith("VARIABLE_VALUE")]) == len(state.variables())
    networks = (state.generator, state.discriminator, state.ema_generator)
    optimizers = (state.generator_optimizer, state.discriminator_optimizer)
    # Everything but the two learning rates, and the step.
    expected = sum(len(network.weights) for network in networks) + sum(len(opt.variables) - 1 for opt in optimizers)
    assert len(state.variables()) == expected + 1
    restore(latest_checkpoint(saved), other.variables())
    for name, variable in state.variables().items():
        np.testing.assert_array_equal(other.variables()[name].numpy(), variable.numpy(), err_msg=name)


def test_restoring_logs_no_warning(tiny, saved, caplog):
    gc.collect()  # TensorFlow warns when a reader is collected: those of other tests first.
    caplog.clear()
    restore(latest_checkpoint(saved), TrainState(tiny).variables())
    load_generator(tiny, latest_checkpoint(saved), "ema")
    gc.collect()
    assert not [record for record in caplog.records if "checkpoint" in record.getMessage()]


def test_checkpoints_are_listed(saved):
    assert checkpoint_steps(saved) == [5, 10]
    assert latest_checkpoint(saved) == checkpoint_path(saved, 10)
    assert checkpoint_steps(os.path.join(saved, "nothing")) == []


def test_an_unreadable_folder_raises_a_user_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"^cannot read the checkpoints in .*/file: [^\n]+$"):
        checkpoint_steps(str(tmp_path / "file"))


def test_parts_are_listed(saved):
    parts = checkpoint_parts(checkpoint_path(saved, 10))
    assert parts == {
        *("generator", "discriminator", "ema_generator", "generator_optimizer", "discriminator_optimizer", "step")
    }


@pytest.mark.parametrize("weights", ["ema", "raw"])
def test_a_generator_is_loaded_alone(tiny, state, saved, weights):
    source = state.ema_generator if weights == "ema" else state.generator
    loaded = load_generator(tiny, checkpoint_path(saved, 10), weights)
    for one, other in zip(loaded.weights, source.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=one.path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model.generator.base_channels=3", r"misshapen: generator/.* and \d+ more"),
        ("model.generator.context=none", "unknown: generator/hamburger/batch_norm/beta"),
        ("model.generator.context.0.version=v2", "missing: generator/hamburger/cheese/kernel"),
        ("model.resolution=64", "missing: .*generator/block4"),
    ],
)
def test_another_architecture_is_rejected_without_changes(tiny, saved, change, message):
    generator = build_generator(override(tiny, [change]).model)
    before = [weight.numpy() for weight in generator.weights]
    with pytest.raises(UserError, match=f"another architecture.*{message}"):
        restore(checkpoint_path(saved, 10), network_variables(generator), part="generator")
    for weight, value in zip(generator.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)


def test_missing_and_damaged_checkpoints_raise_different_errors(tiny, tmp_path):
    generator = build_generator(tiny.model)
    with pytest.raises(UserError, match="no checkpoint"):
        restore(str(tmp_path / "ckpt-1"), network_variables(generator))
    write_checkpoint(str(tmp_path / "ckpt-1"), network_variables(generator))
    data = tmp_path / "ckpt-1.data-00000-of-00001"
    content = data.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    for damaged in (content[: len(content) // 2], bytes(flipped)):
        data.write_bytes(damaged)
        with pytest.raises(UserError, match="ckpt-1 is damaged"):
            restore(str(tmp_path / "ckpt-1"), network_variables(generator))
    (tmp_path / "ckpt-1.index").write_bytes(b"garbage")
    with pytest.raises(UserError, match="is damaged"):
        restore(str(tmp_path / "ckpt-1"), network_variables(generator))


def test_missing_generator_weights_are_rejected(tiny, tmp_path):
    generator = build_generator(tiny.model)
    write_checkpoint(str(tmp_path / "ckpt-1"), network_variables(generator))
    with pytest.raises(UserError, match="has no ema generator weights; use --weights raw"):
        load_generator(tiny, str(tmp_path / "ckpt-1"), "ema")


def test_checkpoints_are_found_by_name(tiny, tmp_path):
    run = RunDirectory(str(tmp_path / "run"))
    run.create(tiny)
    with pytest.raises(UserError, match="no checkpoint in"):
        find_checkpoints(run, "latest")
    variables = network_variables(build_generator(tiny.model))
    for step in (2, 10):
        write_checkpoint(checkpoint_path(run.checkpoints, step), variables)
    assert [step for step, _ in find_checkpoints(run, "all")] == [2, 10]
    assert find_checkpoints(run, "latest") == [(10, checkpoint_path(run.checkpoints, 10))]
    assert find_checkpoints(run, "2") == [(2, checkpoint_path(run.checkpoints, 2))]
    for wrong in ("3", "newest", "-1"):
        with pytest.raises(UserError, match=r"latest, best, all, a path or a step that was saved.* has 2, 10"):
            find_checkpoints(run, wrong)
    with pytest.raises(UserError, match="best: no existing checkpoint has been evaluated"):
        find_checkpoints(run, "best")
    for step, fid in ((2, 5.0), (10, 7.0), (6, 1.0)):
        run.evaluations.write({"step": step, "card_id": "0a", "scores": {"fid": fid}, "card": {"images": {"fake": 10}}})
    assert [step for step, _ in find_checkpoints(run, "best")] == [2]
    elsewhere = str(tmp_path / "elsewhere" / "ckpt-77")
    with pytest.raises(
        UserError, match=r"ckpt-77: expected a checkpoint named like ckpt-1000.*ckpt-77\.index; found none"
    ):
        find_checkpoints(run, elsewhere)
    write_checkpoint(elsewhere, variables)
    assert find_checkpoints(run, elsewhere) == find_checkpoints(run, f"{elsewhere}.index") == [(77, elsewhere)]


def test_a_checkpoint_appears_only_after_verification(tiny, tmp_path, monkeypatch):
    path = str(tmp_path / "ckpt-1")
    write_checkpoint(path, {"a": tf.Variable([1.0, 2.0])})

    def flip(source, target, **_):
        raise AssertionError("was moved into place")

    read = tf.train.load_checkpoint

    class Otherwise:
        def __init__(self, path):
            self.reader = read(path)

        def __getattr__(self, name):
            return getattr(self.reader, name)

        def get_tensor(self, key):
            return self.reader.get_tensor(key) + 1

    monkeypatch.setattr(tf.train, "load_checkpoint", Otherwise)
    monkeypatch.setattr(tf.io.gfile, "rename", flip)
    with pytest.raises(OSError, match="a does not read back as it was written"):
        write_checkpoint(path, {"a": tf.Variable([3.0, 4.0])})
    monkeypatch.undo()
    assert sorted(os.listdir(tmp_path)) == ["ckpt-1.data-00000-of-00001", "ckpt-1.index"]
    restored = tf.Variable([0.0, 0.0])
    restore(path, {"a": restored})
    assert restored.numpy().tolist() == [1.0, 2.0]
    write_checkpoint(path, {"a": tf.Variable([5.0, 6.0])})
    restore(path, {"a": restored})
    assert restored.numpy().tolist() == [5.0, 6.0]


@pytest.mark.parametrize(
    "name", ["hinge[1]", "[a-z]", "a*b", "a?b", "{a,b}", "back\\slash", "a b", "-a", "ünï", "%s", "a\nb", "a[[]1]"]
)
def test_folder_names_are_not_patterns(name, tmp_path):
    # What the name as a pattern would match.
    for sibling in ("hinge1", "b", "aXb", "a", "backslash", "a[1]"):
        write_checkpoint(str(tmp_path / sibling / "ckpt-3"), {"a": tf.Variable(-1.0)})
        (tmp_path / sibling / "incomplete-ckpt-4.index").touch()
    directory = str(tmp_path / name)
    variables = {"a": tf.Variable(3.0)}
    for _ in range(2):
        write_checkpoint(checkpoint_path(directory, 3), variables)
    write_checkpoint(checkpoint_path(directory, 5), variables)
    pathlib.Path(directory, "incomplete-ckpt-7.data-00000-of-00001").touch()
    delete_unfinished(directory)
    assert os.listdir(tmp_path / "hinge1").count("incomplete-ckpt-4.index") == 1
    delete_checkpoint(checkpoint_path(directory, 5))
    assert sorted(os.listdir(directory)) == ["ckpt-3.data-00000-of-00001", "ckpt-3.index"]
    restored = tf.Variable(0.0)
    assert restore_newest(directory, {"a": restored}) == checkpoint_path(directory, 3)
    assert restored.numpy() == 3.0
    assert checkpoint_parts(checkpoint_path(directory, 3)) == {"a"}
    with open_checkpoint(checkpoint_path(directory, 3)) as reader:
        assert reader.get_tensor("a/.ATTRIBUTES/VARIABLE_VALUE") == 3.0


def test_checkpoint_names_are_not_patterns(tmp_path):
    for name in ("a[1].ckpt-5", "a1.ckpt-5"):
        write_checkpoint(str(tmp_path / name), {"a": tf.Variable(float(len(name)))})
    restored = tf.Variable(0.0)
    restore(str(tmp_path / "a[1].ckpt-5"), {"a": restored})
    assert restored.numpy() == len("a[1].ckpt-5")


def test_an_unreadable_checkpoint_is_not_reported_as_damaged(tmp_path):
    for step in (1, 2):
        write_checkpoint(str(tmp_path / f"ckpt-{step}"), {"a": tf.Variable(float(step))})
    data = tmp_path / "ckpt-2.data-00000-of-00001"
    data.unlink()
    data.symlink_to(data.name)  # The system refuses to follow it, whoever asks.
    variable = tf.Variable(0.0)
    with pytest.raises(UserError, match=r"ckpt-2 cannot be read now: .*symbolic links"):
        restore_newest(str(tmp_path), {"a": variable})
    assert variable.numpy() == 0.0


def test_unfinished_checkpoints_are_deleted(tmp_path):
    for step in (1, 2):
        write_checkpoint(str(tmp_path / f"ckpt-{step}"), {"a": tf.Variable(1.0)})
    (tmp_path / "ckpt-1.index").unlink()
    (tmp_path / "incomplete-ckpt-3.index").touch()
    (tmp_path / "incomplete-ckpt-3_temp").mkdir()
    delete_unfinished(str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == ["ckpt-2.data-00000-of-00001", "ckpt-2.index"]


def test_the_newest_readable_checkpoint_is_restored(tmp_path, caplog):
    variable = tf.Variable(0.0)
    assert restore_newest(str(tmp_path), {"a": variable}) is None
    for step in (1, 2, 3):
        write_checkpoint(str(tmp_path / f"ckpt-{step}"), {"a": tf.Variable(float(step))})
    (tmp_path / "ckpt-3.data-00000-of-00001").write_bytes(b"")
    (tmp_path / "ckpt-2.index").write_bytes(b"garbage")
    assert restore_newest(str(tmp_path), {"a": variable}) == str(tmp_path / "ckpt-1")
    assert variable.numpy() == 1.0
    assert [step for step in (1, 2, 3) if f"ckpt-{step} is damaged" in caplog.text] == [2, 3]
    (tmp_path / "ckpt-1.data-00000-of-00001").unlink()
    with pytest.raises(UserError, match=r"expected a checkpoint that can be read in .*, found 3 damaged ones; delete"):
        restore_newest(str(tmp_path), {"a": variable})
