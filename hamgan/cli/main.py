"""The ``hamgan`` command: subcommands, exit codes, and nothing else."""

import argparse
from typing import NoReturn

from hamgan.cli import (
    convert,
    directions,
    doctor,
    evaluate,
    explore,
    export,
    interpolate,
    invert,
    neighbors,
    prepare,
    quickstart,
    sample,
    score,
    tpu_check,
    train,
)
from hamgan.cli.command_line import parser_of, run_command
from hamgan.program import run_program

COMMANDS = {
    "quickstart": quickstart,
    "prepare": prepare,
    "train": train,
    "evaluate": evaluate,
    "sample": sample,
    "interpolate": interpolate,
    "invert": invert,
    "directions": directions,
    "neighbors": neighbors,
    "score": score,
    "explore": explore,
    "export": export,
    "convert": convert,
    "tpu-check": tpu_check,
    "doctor": doctor,
}


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of the whole command line."""
    return parser_of("hamgan", "Train and evaluate HamGAN.", COMMANDS)


def main(argv: list[str]) -> int:
    """Runs one command and returns the exit code; see :func:`hamgan.program.exit_code_of`."""
    return run_command(build_parser(), COMMANDS, argv)


def run() -> NoReturn:
    """The console command."""
    run_program("hamgan", main)


if __name__ == "__main__":
    run()
