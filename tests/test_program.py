"""How programs end; what a shell would give them as standard output is a file of this process here."""

import os
import pathlib
import sys

import pytest
import tensorflow as tf

from hamgan.errors import FailedError, PreemptedError, UserError
from hamgan.program import exit_code_of, run_program

FULL = pathlib.Path("/dev/full")


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("expected 1, found 2"), 2, "hamgan x: error: expected 1, found 2"),
        (FailedError("it collapsed"), 1, "hamgan x: failed: it collapsed"),
        (PreemptedError("stopped"), 75, "hamgan x: stopped; run the same command again to resume"),
        (KeyboardInterrupt(), 130, "hamgan x: interrupted; run the same command again to resume"),
        (PermissionError(13, "Permission denied", "a/b"), 2, "hamgan x: error: a/b: Permission denied"),
        (tf.errors.DataLossError(None, None, "a/b is cut off"), 2, "hamgan x: error: a/b is cut off"),
        (UserError("no folder a\nb"), 2, "hamgan x: error: no folder a\\nb"),
    ],
)
def test_errors_have_an_exit_code_and_one_line(error, code, line, capsys):
    def work():
        raise error

    assert exit_code_of("hamgan x", work) == code
    assert capsys.readouterr().err == f"{line}\n"


def test_faults_of_the_program_keep_their_trace():
    def work():
        raise KeyError("x")

    with pytest.raises(KeyError):
        exit_code_of("hamgan x", work)


def test_the_exit_code_is_that_of_the_work():
    assert exit_code_of("hamgan x", lambda: None) == 0
    assert exit_code_of("hamgan x", lambda: 3) == 3


def _run(monkeypatch, main, *arguments):
    """Runs a program and returns its exit code; standard output and error are then as they were."""
    monkeypatch.setattr(sys, "argv", ["hamgan", *arguments])
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, getattr(sys, name))
    with pytest.raises(SystemExit) as stop:
        run_program("hamgan", main)
    return stop.value.code


def _no_reader():
    reading_end, writing_end = os.pipe()
    os.close(reading_end)
    return os.fdopen(writing_end, "w")


def _print(arguments):
    print("some output", *arguments)


def _print_and_flush(_):
    print("some output", flush=True)


def _print_and_stop(_):
    print("some output")
    raise SystemExit(0)  # as argparse does after --help


@pytest.mark.parametrize("main", [_print, _print_and_flush, _print_and_stop])
def test_a_pipe_that_nobody_reads_ends_the_program_quietly(main, monkeypatch, capsys):
    with _no_reader() as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert _run(monkeypatch, main) == 141
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("main", [_print, _print_and_flush, _print_and_stop])
@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")
def test_output_that_is_refused_is_one_line(main, monkeypatch, capsys):
    with FULL.open("w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert _run(monkeypatch, main) == 1
    assert capsys.readouterr().err == "hamgan: error: cannot write standard output: No space left on device\n"


def test_a_failure_keeps_its_exit_code_when_output_is_refused_too(monkeypatch):
    with _no_reader() as stdout, _no_reader() as stderr:
        monkeypatch.setattr(sys, "stdout", stdout)
        monkeypatch.setattr(sys, "stderr", stderr)

        def main(_):
            raise UserError("expected 1, found 2")

        assert _run(monkeypatch, main) == 2


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")
def test_messages_that_are_refused_do_not_end_the_work(monkeypatch):
    done = []

    def main(_):
        for step in range(3):
            print(f"step {step}", file=sys.stderr, flush=True)
            done.append(step)

    for stderr in (FULL.open("w"), _no_reader()):
        with stderr:
            monkeypatch.setattr(sys, "stderr", stderr)
            assert _run(monkeypatch, main) == 0
    assert done == [0, 1, 2] * 2


def test_what_an_encoding_lacks_is_escaped(tmp_path, monkeypatch):
    with (
        open(tmp_path / "out", "w", encoding="ascii") as stdout,
        open(tmp_path / "err", "w", encoding="ascii") as stderr,
    ):
        monkeypatch.setattr(sys, "stdout", stdout)
        monkeypatch.setattr(sys, "stderr", stderr)

        def main(arguments):
            print(f"wrote {arguments[0]}")
            raise UserError(f"cannot read {arguments[0]}")

        assert _run(monkeypatch, main, "ü") == 2
    assert (tmp_path / "out").read_text() == "wrote \\xfc\n"
    assert (tmp_path / "err").read_text() == "hamgan: error: cannot read \\xfc\n"


@pytest.mark.parametrize("argument", ["", os.fsdecode(b"runs/\xff")])
def test_arguments_that_are_no_text_are_refused(argument, monkeypatch, capsys):
    assert _run(monkeypatch, _print, "--run", argument) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("hamgan: error: expected arguments that are text, found ")
    assert said.err.count("\n") == 1


def test_output_that_is_closed_is_done_without(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)

    def main(_):
        print("some output", file=sys.stderr)
        print(sys.stdout.isatty())

    assert _run(monkeypatch, main) == 0
