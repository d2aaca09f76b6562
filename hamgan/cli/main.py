"""The ``hamgan`` command: subcommands, exit codes, and nothing else."""

import argparse
import logging
import sys
from typing import Any, NoReturn

from hamgan import __version__
from hamgan.cli import convert, doctor, evaluate, prepare, sample, tpu_check, train
from hamgan.program import EXIT_USER_ERROR, exit_code_of, run_program

COMMANDS = {
    "prepare": prepare,
    "train": train,
    "evaluate": evaluate,
    "sample": sample,
    "convert": convert,
    "tpu-check": tpu_check,
    "doctor": doctor,
}


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
    return parser


def main(argv: list[str]) -> int:
    """Runs one command and returns the exit code; see :func:`hamgan.program.exit_code_of`."""
    arguments = build_parser().parse_args(argv)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    for package in ("data_prep", "hamgan"):
        logging.getLogger(package).setLevel(logging.INFO)
    return exit_code_of(f"hamgan {arguments.command}", lambda: COMMANDS[arguments.command].run(arguments))


def run() -> NoReturn:
    """The console command."""
    run_program("hamgan", main)


if __name__ == "__main__":
    run()
