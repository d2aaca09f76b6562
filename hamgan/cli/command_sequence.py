"""Several commands, one after the other in one process, which imports TensorFlow once."""

import argparse
import os
import shlex
from collections.abc import Sequence
from types import ModuleType
from typing import NamedTuple

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


def run_steps(program: str, steps: Sequence[Step]) -> None:
    """Runs commands, and shows each as the command line that does the same.

    Args:
        program: name of the console command.
        steps: commands to run.
    """
    for number, step in enumerate(steps, start=1):
        line = shlex.join([program, step.name, *step.options])
        print(f"\n{number}/{len(steps)}  {step.title}\n$ {line}", flush=True)
        parser = argparse.ArgumentParser(allow_abbrev=False)
        step.command.add_arguments(parser)
        step.command.run(parser.parse_args(step.options))
