"""Command lines with subcommands, and their log: what the console commands of this package have in common."""

import argparse
import logging
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any, NoReturn

import absl.logging

from hamgan import __version__
from hamgan.program import EXIT_USER_ERROR, exit_code_of

VERBOSITIES = ("debug", "info", "warning", "error")


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and where the options are explained."""

    def print_help(self, file: Any = None) -> None:
        # argparse's own is silent about what cannot be written.
        print(self.format_help(), end="", file=file)

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: error: {message}; see '{self.prog} --help'", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)


def parser_of(program: str, description: str, commands: Mapping[str, ModuleType]) -> argparse.ArgumentParser:
    """Returns the parser of a command line.

    Args:
        program: name of the console command.
        description: what it is for.
        commands: module of each subcommand: its docstring is the help text, ``add_arguments`` adds its options, and
            ``run`` runs it.
    """
    parser = _Parser(prog=program, description=description, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"hamgan {__version__}")
    _add_verbosity(parser, default="info")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    for name, command in commands.items():
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


def run_command(parser: argparse.ArgumentParser, commands: Mapping[str, ModuleType], argv: list[str]) -> int:
    """Runs one command and returns the exit code; see :func:`hamgan.program.exit_code_of`.

    Args:
        parser: result of :func:`parser_of`.
        commands: module of each subcommand.
        argv: arguments of the command line.
    """
    arguments = parser.parse_args(argv)
    set_up_log(arguments.verbosity)
    return exit_code_of(f"{parser.prog} {arguments.command}", lambda: commands[arguments.command].run(arguments))
