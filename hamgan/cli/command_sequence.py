"""Several commands: one after the other in one process, which imports TensorFlow once, or side by side."""

import argparse
import os
import shlex
from collections.abc import Sequence
from types import ModuleType
from typing import NamedTuple

from hamgan.cli.command_processes import CommandProcess, run_processes
from hamgan.errors import UserError


class Step(NamedTuple):
    """A command to run.

    Args:
        title: what it does.
        name: name of the command, such as "train".
        command: its module.
        options: its options.
    """

    title: str
    name: str
    command: ModuleType
    options: Sequence[str]


def add_out(parser: argparse.ArgumentParser, default: str) -> None:
    """Adds ``--out``, the folder of all files."""
    parser.add_argument("--out", default=default, metavar="DIR", help=f"folder of all files (default: {default})")


def check_out(out: str) -> None:
    """Raises UserError if ``--out`` is a file."""
    if os.path.exists(out) and not os.path.isdir(out):
        raise UserError(f"--out {out}: expected a folder, found a file; choose another --out")


class CommandSequence:
    """Runs commands, and shows each as the command line that does the same.

    Args:
        program: name of the console command.
        total: number of commands.
        verbosity: the least severe messages to show, one of :data:`hamgan.cli.command_line.VERBOSITIES`.
    """

    def __init__(self, program: str, total: int, verbosity: str) -> None:
        self._program = program
        self._total = total
        self._verbosity = verbosity
        self._number = 0

    def run(self, step: Step) -> None:
        """Runs a command in this process."""
        self._announce(step)
        parser = argparse.ArgumentParser(allow_abbrev=False)
        step.command.add_arguments(parser)
        step.command.run(parser.parse_args(step.options))

    def run_side_by_side(self, steps: Sequence[Step]) -> None:
        """Runs commands in processes of their own, at the same time; see :func:`run_processes`.

        On a machine with GPUs, they run one after the other: each would reserve all of a GPU's memory.
        """
        import tensorflow as tf

        if tf.config.list_physical_devices("GPU"):
            for step in steps:
                self.run(step)
            return
        run_processes([self._process(step) for step in steps])

    def _process(self, step: Step) -> CommandProcess:
        label = self._announce(step)
        name = f"{self._program} {step.name}"
        return CommandProcess(name, step.command.__name__, step.options, label, self._verbosity)

    def _announce(self, step: Step) -> str:
        """Shows the command; returns its number among all."""
        self._number += 1
        number = f"{self._number}/{self._total}"
        print(f"\n{number}  {step.title}\n$ {shlex.join([self._program, step.name, *step.options])}", flush=True)
        return number
