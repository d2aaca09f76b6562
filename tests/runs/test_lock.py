import errno
import fcntl
import json
import os
import re
import signal
import socket

import pytest

from hamgan.errors import UserError
from hamgan.runs.directory import LOCK_NAME, RunDirectory
from hamgan.runs.lock import RunLock


def _acquire(path):
    lock = RunLock(RunDirectory(str(path)))
    lock.acquire()
    return lock


def test_one_process_at_a_time_trains_a_run(tmp_path):
    run = tmp_path / "new" / "run"
    with _acquire(run):
        owner = json.loads((run / LOCK_NAME).read_text())
        assert (owner["pid"], owner["host"]) == (os.getpid(), socket.gethostname())
        said = f"{run} is being trained by process {os.getpid()} on {owner['host']} since {owner['since']}; "
        with pytest.raises(UserError, match=re.escape(said)):
            _acquire(run)
        assert json.loads((run / LOCK_NAME).read_text()) == owner
    with _acquire(run):
        pass


def test_a_killed_owner_leaves_no_lock(tmp_path):
    reading_end, writing_end = os.pipe()
    child = os.fork()
    if not child:
        # As the system sees it, this process is killed while it trains.
        try:
            os.close(reading_end)
            _acquire(tmp_path)
            os.write(writing_end, b".")
            signal.pause()
        finally:
            os._exit(1)
    os.close(writing_end)
    try:
        assert os.read(reading_end, 1) == b"."
        with pytest.raises(UserError, match=f"by process {child} on"):
            _acquire(tmp_path)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reading_end)
    with _acquire(tmp_path):
        assert json.loads((tmp_path / LOCK_NAME).read_text())["pid"] == os.getpid()


def test_an_unknown_owner_is_reported_as_another_process(tmp_path):
    with _acquire(tmp_path):
        (tmp_path / LOCK_NAME).write_text("")
        with pytest.raises(UserError, match="is being trained by another process; "):
            _acquire(tmp_path)


def test_training_continues_without_lock_support(tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with _acquire(tmp_path):
        assert "do not start a second trainer on this run" in caplog.text


def test_an_unwritable_folder_raises_a_user_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write the run folder .*file/run: .*Not a directory"):
        _acquire(tmp_path / "file" / "run")


def test_buckets_are_not_locked():
    with _acquire("gs://bucket/run"):
        pass
