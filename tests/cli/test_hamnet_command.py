import subprocess
import sys

import pytest

from hamgan.cli.hamnet import build_parser, main


def test_help_does_not_load_tensorflow():
    code = "import sys, hamgan.cli.hamnet as m; m.build_parser().format_help(); sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("arguments", [["--help"], ["prepare", "--help"], ["prepare", "voc", "--help"]])
def test_help_names_the_program(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: hamnet{' prepare' * (len(arguments) > 1)}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["prepare", "folder", "--source", "x"], "the following arguments are required: --name"),
        (["prepare", "folder", "--source", "x", "--name", "y", "--ignore", "a"], "--ignore: invalid int value: 'a'"),
    ],
)
def test_mistakes_are_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert error.startswith("hamnet")


def test_no_ignored_value_can_be_given():
    parse = build_parser().parse_args
    assert parse(["prepare", "folder", "--source", "x", "--name", "y", "--ignore"]).ignore == []
    assert parse(["prepare", "folder", "--source", "x", "--name", "y"]).ignore == [255]
