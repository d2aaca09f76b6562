"""The script that restarts preempted commands, with a stand-in for hamgan that notes how it was called."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest

SCRIPTS = pathlib.Path(__file__).parent.parent.parent / "scripts"

STAND_IN = """#!/usr/bin/env bash
echo "$@" >> "$CALLS"
count=$(wc -l < "$CALLS")
codes=($CODES)
exit "${codes[count - 1]:-0}"
"""


@pytest.fixture
def call(tmp_path):
    """Calls the script in a checkout without .venv; returns exit code, printed text, and hamgan's calls."""
    shutil.copytree(SCRIPTS, tmp_path / "checkout" / "scripts")
    (tmp_path / "bin").mkdir()
    hamgan = tmp_path / "bin" / "hamgan"
    hamgan.write_text(STAND_IN)
    hamgan.chmod(0o755)
    calls = tmp_path / "calls"

    def call(*arguments, codes="", path=f"{tmp_path / 'bin'}:{os.environ['PATH']}"):
        calls.write_text("")
        environment = {**os.environ, "PATH": path, "CALLS": str(calls), "CODES": codes, "RESTART_SECONDS": "0"}
        command = ["bash", str(tmp_path / "checkout" / "scripts" / "restart_when_preempted.sh"), *arguments]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return result.returncode, result.stdout + result.stderr, calls.read_text().splitlines()

    return call


def test_a_missing_command_and_a_missing_installation_are_one_line(call):
    code, printed, calls = call()
    assert (code, calls) == (2, [])
    assert printed.startswith("expected a hamgan command")
    assert len(printed.splitlines()) == 1
    code, printed, _ = call("train", path="/usr/bin:/bin")
    assert code == 2
    assert "found none; install it first" in printed
    assert len(printed.splitlines()) == 1


@pytest.mark.parametrize(("codes", "expected", "num_calls"), [("75 75 0", 0, 3), ("75 1", 1, 2), ("2", 2, 1)])
def test_a_preempted_command_is_run_again_and_no_other(call, codes, expected, num_calls):
    code, printed, calls = call("train", "--run", "RUN", "--override", "data.dataset=a b", codes=codes)
    assert code == expected
    assert calls == ["train --run RUN --override data.dataset=a b"] * num_calls
    assert printed.count("Preempted") == num_calls - 1


def test_sigterm_reaches_hamgan_and_its_exit_code_is_returned(tmp_path):
    """The signal is sent to the script alone, as systemd and Kubernetes may do."""
    hamgan = tmp_path / "hamgan"
    hamgan.write_text(
        f"#!{sys.executable}\n"
        "import signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\n"
        "print('started', flush=True)\n"
        "while True:\n"
        "    signal.pause()\n"
    )
    hamgan.chmod(0o755)
    shutil.copytree(SCRIPTS, tmp_path / "checkout" / "scripts")
    command = ["bash", str(tmp_path / "checkout" / "scripts" / "restart_when_preempted.sh"), "train"]
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "RESTART_SECONDS": "0"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            assert process.stdout.readline() == "started\n"
            process.send_signal(signal.SIGTERM)
            printed, _ = process.communicate(timeout=30)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 75
    assert printed == ""  # not run again
