"""The launchers, with a stand-in for the hamgan command that notes how it was called."""

import os
import pathlib
import shutil
import subprocess

import pytest

SCRIPTS = pathlib.Path(__file__).parent.parent / "scripts"

STAND_IN = """#!/usr/bin/env bash
echo "$@" >> "$CALLS"
count=$(wc -l < "$CALLS")
codes=($CODES)
exit "${codes[count - 1]:-0}"
"""


@pytest.fixture
def call(tmp_path):
    """Calls a launcher in a checkout without .venv; returns exit code, what it printed, and hamgan's calls."""
    shutil.copytree(SCRIPTS, tmp_path / "checkout" / "scripts")
    (tmp_path / "bin").mkdir()
    hamgan = tmp_path / "bin" / "hamgan"
    hamgan.write_text(STAND_IN)
    hamgan.chmod(0o755)
    calls = tmp_path / "calls"

    def call(name, *arguments, codes="", path=f"{tmp_path / 'bin'}:{os.environ['PATH']}"):
        calls.write_text("")
        environment = {**os.environ, "PATH": path, "CALLS": str(calls), "CODES": codes, "RESTART_SECONDS": "0"}
        command = ["bash", str(tmp_path / "checkout" / "scripts" / name), *arguments]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return result.returncode, result.stdout + result.stderr, calls.read_text().splitlines()

    return call


COMMANDS = {
    "train_hamgan_strong_tpu.sh": (
        ("RUN", "DATA"),
        "train --run RUN --data_dir DATA --preset hamgan_strong --accelerator tpu",
    ),
    "train_hamgan_baby_tpu.sh": (
        ("RUN", "DATA"),
        "train --run RUN --data_dir DATA --preset hamgan_baby --accelerator tpu",
    ),
    "evaluate_tpu.sh": (("RUN",), "evaluate --run RUN --accelerator tpu"),
    "continuous_eval_tpu.sh": (("RUN",), "evaluate --run RUN --watch --accelerator tpu"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_dry_run_prints_the_command_and_asks_for_the_settings(call, name):
    arguments, expected = COMMANDS[name]
    code, printed, calls = call(name, *arguments, "--dry_run", "--override", "data.dataset=a b")
    assert code == 0
    assert calls == [f"{expected} --override data.dataset=a b --dry_run"]
    assert printed.startswith(f"hamgan {expected} --override data.dataset=a\\ b")


@pytest.mark.parametrize("name", COMMANDS)
def test_missing_arguments_and_a_missing_installation_are_one_line(call, name):
    code, printed, calls = call(name)
    assert (code, calls) == (2, [])
    assert printed.startswith("expected RUN")
    assert len(printed.splitlines()) == 1
    code, printed, _ = call(name, *COMMANDS[name][0], path="/usr/bin:/bin")
    assert code == 2
    assert "run scripts/setup_tpu_vm.sh first" in printed
    assert len(printed.splitlines()) == 1


@pytest.mark.parametrize(("codes", "expected", "num_calls"), [("75 75 0", 0, 3), ("75 1", 1, 2), ("2", 2, 1)])
def test_a_preempted_command_is_started_again_and_no_other(call, codes, expected, num_calls):
    code, printed, calls = call("train_hamgan_baby_tpu.sh", "RUN", "DATA", codes=codes)
    assert code == expected
    assert len(calls) == num_calls
    assert len(set(calls)) == 1
    assert printed.count("Preempted") == num_calls - 1
