"""MkDocs hook: pages with the ``--help`` of every command, from its parser."""

import argparse
import os
from collections.abc import Iterator

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

WIDTH = 80
"""Columns of the help texts, of which argparse leaves two free."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds a page for each program."""
    os.environ["COLUMNS"] = str(WIDTH)
    from hamgan.cli import hamnet, main

    for parser in (main.build_parser(), hamnet.build_parser()):
        files.append(File.generated(config, f"reference/commands/{parser.prog}.md", content=_page(parser)))
    return files


def _page(parser: argparse.ArgumentParser) -> str:
    entries = [f"# Commands of {parser.prog}"]
    for level, command in _commands(parser, level=2):
        entries.append(f"{'#' * level} {command.prog}\n\n```text\n{command.format_help().rstrip()}\n```")
    return "\n\n".join(entries) + "\n"


def _commands(parser: argparse.ArgumentParser, level: int) -> Iterator[tuple[int, argparse.ArgumentParser]]:
    """Yields a parser and those of its subcommands, with the levels of their headings."""
    yield level, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for subparser in action.choices.values():
                yield from _commands(subparser, level + (level > 2 or parser.prog.count(" ") > 0))
