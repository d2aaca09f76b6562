import logging
import os
import threading

import pytest
import tensorflow as tf

from hamgan.errors import UserError
from hamgan.runs.checkpoints import checkpoint_path, checkpoint_steps, restore
from hamgan.training import checkpoint_writer
from hamgan.training.checkpoint_writer import CheckpointNotWrittenError, CheckpointWriter


@pytest.fixture
def variable():
    return tf.Variable(0.0)


@pytest.fixture
def make(tmp_path, variable):
    writers = []

    def make(**kwargs):
        writers.append(CheckpointWriter(str(tmp_path), {"a": variable}, **{"max_to_keep": 10, **kwargs}))
        return writers[-1]

    yield make
    for writer in writers:
        writer.close()


def _saved(directory, step):
    restored = tf.Variable(-1.0)
    restore(checkpoint_path(str(directory), step), {"a": restored})
    return float(restored.numpy())


def test_a_checkpoint_holds_the_values_at_the_time_of_the_call(tmp_path, variable, make, monkeypatch):
    may_write = threading.Event()
    write = checkpoint_writer.write_checkpoint

    def wait_and_write(path, variables):
        may_write.wait()
        write(path, variables)

    monkeypatch.setattr(checkpoint_writer, "write_checkpoint", wait_and_write)
    writer = make()
    variable.assign(1.0)
    writer.save(1)
    variable.assign(2.0)
    assert checkpoint_steps(str(tmp_path)) == []
    may_write.set()
    writer.wait()
    assert _saved(tmp_path, 1) == 1.0


def test_the_newest_and_the_best_are_kept(tmp_path, variable, make):
    best = {"step": None}
    writer = make(max_to_keep=2, best_step=lambda: best["step"])
    for step in range(6):
        best["step"] = {2: 1, 5: 4}.get(step, best["step"])
        variable.assign(step)
        writer.save(step)
        writer.wait()
        if step == 4:
            assert checkpoint_steps(str(tmp_path)) == [1, 3, 4]
    assert checkpoint_steps(str(tmp_path)) == [4, 5]
    assert [_saved(tmp_path, step) for step in (4, 5)] == [4.0, 5.0]


@pytest.mark.parametrize("error", [UserError, KeyError, TypeError])
def test_a_damaged_evaluation_does_not_stop_training(tmp_path, make, caplog, error):
    def damaged():
        raise error("step_00000001_0a.json is damaged; delete it")

    writer = make(max_to_keep=1, best_step=damaged)
    for step in range(3):
        writer.save(step)
        writer.wait()
    assert checkpoint_steps(str(tmp_path)) == [0, 1, 2]
    assert caplog.text.count("Cannot delete old checkpoints") == 3
    assert "step_00000001_0a.json is damaged" in caplog.text


def test_an_unwritable_folder_is_a_one_line_error(tmp_path, variable, monkeypatch):
    def refuse(_):
        raise tf.errors.PermissionDeniedError(None, None, "Read-only file system")

    (tmp_path / "incomplete-ckpt-1.index").touch()
    monkeypatch.setattr(tf.io.gfile, "remove", refuse)
    with pytest.raises(UserError, match=rf"^cannot write checkpoints into {tmp_path}: Read-only file system$"):
        CheckpointWriter(str(tmp_path), {"a": variable}, max_to_keep=1)


def _refuse(monkeypatch, attempts=None, *, step=None):
    """Makes the next or all attempts fail, for all checkpoints or one step. Returns a list of the attempted names."""
    write = checkpoint_writer.write_checkpoint
    tried = []

    def write_or_refuse(path, variables):
        name = os.path.basename(path)
        tried.append(name)
        if (attempts is None or len(tried) <= attempts) and step in (None, int(name.removeprefix("ckpt-"))):
            raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")
        write(path, variables)

    monkeypatch.setattr(checkpoint_writer, "write_checkpoint", write_or_refuse)
    return tried


def test_a_failed_write_is_retried_until_it_succeeds(tmp_path, make, monkeypatch, caplog):
    monkeypatch.setattr(checkpoint_writer, "FIRST_RETRY_SECONDS", 0.0)
    tried = _refuse(monkeypatch, 3)
    written = threading.Event()
    # This runs after each successful write.
    writer = make(best_step=lambda: written.set() or None)
    writer.save(7)
    written.wait()
    writer.settle()
    assert tried == ["ckpt-7"] * 4
    assert checkpoint_steps(str(tmp_path)) == [7]
    assert caplog.text.count("cannot write the checkpoint of step 7") == 3


def test_a_newer_checkpoint_replaces_one_that_could_not_be_written(tmp_path, variable, make, monkeypatch, caplog):
    tried = _refuse(monkeypatch, step=7)
    writer = make()
    writer.save(7)
    variable.assign(8.0)
    writer.save(8)
    writer.wait()
    assert set(tried[:-1]) == {"ckpt-7"}
    assert tried[-1] == "ckpt-8"
    assert checkpoint_steps(str(tmp_path)) == [8]
    assert _saved(tmp_path, 8) == 8.0
    assert "The checkpoint of step 7 was not written; the one of step 8" in caplog.text


def test_the_last_checkpoint_is_retried_and_then_fails_with_one_line(tmp_path, make, monkeypatch, caplog):
    monkeypatch.setattr(checkpoint_writer, "FIRST_RETRY_SECONDS", 1 / 64)
    monkeypatch.setattr(checkpoint_writer, "PATIENCE", (1 + 2 + 4) / 64)
    tried = _refuse(monkeypatch)
    writer = make()
    writer.save(7)
    with pytest.raises(CheckpointNotWrittenError, match=r"step 7 cannot be written in .* \(No space left on device\)"):
        writer.wait()
    assert len(tried) >= 4
    assert caplog.text.count("waiting for room or access") == 3
    assert os.listdir(tmp_path) == []


def test_the_last_checkpoint_is_written_once_there_is_space(tmp_path, make, monkeypatch):
    monkeypatch.setattr(checkpoint_writer, "FIRST_RETRY_SECONDS", 0.0)
    _refuse(monkeypatch, 4)
    writer = make()
    writer.save(7)
    writer.wait()
    assert checkpoint_steps(str(tmp_path)) == [7]


def test_settling_gives_up_a_failed_write(tmp_path, make, monkeypatch):
    _refuse(monkeypatch)
    writer = make()
    writer.save(7)
    writer.settle()
    assert checkpoint_steps(str(tmp_path)) == []


def test_a_hurried_wait_is_short(tmp_path, make, monkeypatch, caplog):
    monkeypatch.setattr(checkpoint_writer, "FIRST_RETRY_SECONDS", 600.0)
    monkeypatch.setattr(checkpoint_writer, "HURRIED_PATIENCE", 0.01)
    tried = _refuse(monkeypatch)
    writer = make()
    writer.save(7)

    class HurryWhenWaiting(logging.Handler):
        def emit(self, record):
            if "waiting for room" in record.getMessage():
                writer.hurry()

    logger = logging.getLogger(checkpoint_writer.__name__)
    logger.addHandler(handler := HurryWhenWaiting())
    try:
        with pytest.raises(CheckpointNotWrittenError):
            writer.wait()
    finally:
        logger.removeHandler(handler)
    assert len(tried) == 3
