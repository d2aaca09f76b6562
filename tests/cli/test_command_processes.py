import os
import signal
import subprocess
import sys
import time

import pytest

from hamgan.cli.command_processes import CommandProcess, run_processes
from hamgan.errors import FailedError, PreemptedError, UserError

COMMAND = '''
import os
import pathlib
import signal
import time

from hamgan.errors import UserError
from hamgan.training.preemption import PreemptionWatch

SECONDS = 60


def add_arguments(parser):
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("name")
    parser.add_argument("--then")


def run(arguments):
    """Waits for the other command, then does what ``--then`` says."""
    with PreemptionWatch("saved") as watch:
        watch.call((arguments.folder / f"{arguments.name} saved").touch)
        (arguments.folder / f"{arguments.name} started").touch()
        end = time.monotonic() + SECONDS
        while len(list(arguments.folder.glob("* started"))) < 2:
            assert time.monotonic() < end
            time.sleep(0.01)
        if arguments.then == "fail":
            raise UserError("expected more")
        if arguments.then == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if arguments.then == "stop the parent":
            os.kill(os.getppid(), signal.SIGTERM)
        if arguments.then:
            time.sleep(SECONDS)
'''


@pytest.fixture
def two_commands(tmp_path, monkeypatch):
    """A function that returns two commands: the second one does as told, the first one then waits to be stopped."""
    (tmp_path / "waiting_command.py").write_text(COMMAND)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)

    def make(then=None):
        options = {"first": ["--then", "wait"] if then else [], "second": ["--then", then] if then else []}
        return [
            CommandProcess(f"test {name}", "waiting_command", [str(tmp_path), name, *rest], name, "info")
            for name, rest in options.items()
        ]

    return make


def test_commands_run_at_the_same_time(two_commands):
    run_processes(two_commands())


def test_if_a_command_fails_the_other_one_saves_its_work(two_commands, tmp_path, capfd):
    with pytest.raises(UserError, match="'test second' found an error, which is described above"):
        run_processes(two_commands("fail"))
    assert "test second: error: expected more" in capfd.readouterr().err
    assert (tmp_path / "first saved").exists()


def test_a_command_that_is_killed_is_a_failure(two_commands, tmp_path):
    with pytest.raises(FailedError, match="'test second' ended with exit code -9"):
        run_processes(two_commands("die"))
    assert (tmp_path / "first saved").exists()


def test_sigterm_stops_all_commands(two_commands, tmp_path):
    with pytest.raises(PreemptedError, match="all commands have saved their work"):
        run_processes(two_commands("stop the parent"))
    assert (tmp_path / "first saved").exists()
    assert (tmp_path / "second saved").exists()


def test_commands_stop_when_their_parent_is_killed(two_commands, tmp_path):
    program = f"from {CommandProcess.__module__} import *\nrun_processes({two_commands('wait')!r})"
    parent = subprocess.Popen([sys.executable, "-c", program])
    end = time.monotonic() + 60
    while len(list(tmp_path.glob("* started"))) < 2:
        assert time.monotonic() < end
        time.sleep(0.01)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while len(list(tmp_path.glob("* saved"))) < 2:
        assert time.monotonic() < end
        time.sleep(0.01)
