"""The ``hamnet`` command: subcommands, exit codes, and nothing else."""

import argparse
from typing import NoReturn

from hamgan.cli import (
    convert_network,
    evaluate_network,
    export_network,
    predict,
    prepare_masks,
    quickstart_segmentation,
    train_segmentation,
)
from hamgan.cli.command_line import parser_of, run_command
from hamgan.program import run_program

COMMANDS = {
    "quickstart": quickstart_segmentation,
    "prepare": prepare_masks,
    "train": train_segmentation,
    "evaluate": evaluate_network,
    "predict": predict,
    "export": export_network,
    "convert": convert_network,
}


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of the whole command line."""
    return parser_of("hamnet", "Train and use segmentation networks with Hamburgers.", COMMANDS)


def main(argv: list[str]) -> int:
    """Runs one command and returns the exit code; see :func:`hamgan.program.exit_code_of`."""
    return run_command(build_parser(), COMMANDS, argv)


def run() -> NoReturn:
    """The console command."""
    run_program("hamnet", main)


if __name__ == "__main__":
    run()
