"""The ``hamgan`` command: subcommands, exit codes, and nothing else."""

import argparse
import logging
import sys
from typing import Any, NoReturn

import absl.logging

from hamgan import __version__
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
from hamgan.program import EXIT_USER_ERROR, exit_code_of, run_program

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


VERBOSITIES = ("debug", "info", "warning", "error")


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and where the options are explained."""

    def print_help(self, file: Any = None) -> None:
        # argparse's own is silent about what cannot be written.
        print(self.format_help(), end="", file=file)

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: error: {message}; see '{self.prog} --help'", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of the whole command line."""
    parser = _Parser(prog="hamgan", description="Train and evaluate HamGAN.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"hamgan {__version__}")
    _add_verbosity(parser, default="info")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    for name, command in COMMANDS.items():
        summary = (command.__doc__ or "").splitlines()[0]
        subparser = subparsers.add_parser(
            name,
            help=summary,
            description=command.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.add_arguments(subparser)
        _add_verbosity(subparser, default=argparse.SUPPRESS)
    return parser


def _add_verbosity(parser: argparse.ArgumentParser, default: str) -> None:
    """Adds ``--verbosity``, which may stand before or after the command."""
    parser.add_argument(
        "--verbosity",
        default=default,
        choices=VERBOSITIES,
        help="the least severe messages to show (default: info; debug includes TensorFlow's and TFDS's)",
    )


def set_up_log(verbosity: str) -> None:
    """Sends the messages of this project, of TensorFlow and of TFDS to one log on standard error.

    Args:
        verbosity: the least severe messages to show, one of :data:`VERBOSITIES`. Those of TensorFlow and TFDS are shown
            from warnings on, or from "info" on with "debug".
    """
    # TensorFlow adds no handler of its own where the root logger has one; TFDS logs by absl.
    logging.basicConfig(format="%(message)s")
    level = VERBOSITIES.index(verbosity)
    ours = getattr(logging, verbosity.upper())
    theirs = getattr(logging, VERBOSITIES[max(level, 2) if level else 1].upper())
    logging.getLogger().setLevel(theirs)
    absl.logging.set_verbosity(absl.logging.converter.standard_to_absl(theirs))
    for package in ("data_prep", "hamgan"):
        logging.getLogger(package).setLevel(ours)


def main(argv: list[str]) -> int:
    """Runs one command and returns the exit code; see :func:`hamgan.program.exit_code_of`."""
    arguments = build_parser().parse_args(argv)
    set_up_log(arguments.verbosity)
    return exit_code_of(f"hamgan {arguments.command}", lambda: COMMANDS[arguments.command].run(arguments))


def run() -> NoReturn:
    """The console command."""
    run_program("hamgan", main)


if __name__ == "__main__":
    run()
