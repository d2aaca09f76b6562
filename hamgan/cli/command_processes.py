"""Commands that run at the same time, each in a process of its own."""

import argparse
import importlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
from collections.abc import Sequence
from multiprocessing.context import SpawnProcess
from typing import NamedTuple

from hamgan.cli.command_line import set_up_log
from hamgan.errors import FailedError, PreemptedError, UserError
from hamgan.program import EXIT_PREEMPTED, EXIT_USER_ERROR, run_program
from hamgan.training.preemption import PreemptionWatch


class CommandProcess(NamedTuple):
    """A command to run in a process of its own.

    Args:
        name: name of the command, such as "hamnet train".
        module: name of its module.
        options: its options.
        label: label of its progress bar.
        verbosity: the least severe messages to show, one of :data:`hamgan.cli.command_line.VERBOSITIES`.
    """

    name: str
    module: str
    options: Sequence[str]
    label: str
    verbosity: str


def run_processes(commands: Sequence[CommandProcess]) -> None:
    """Runs commands at the same time and waits for all of them.

    Each operation of theirs has one thread: the processes keep the cores busy, and threads of small operations mostly
    wait. When a command fails, or this process is interrupted, the other commands receive SIGTERM and save their work.

    Args:
        commands: commands to run.

    Raises:
        PreemptedError: SIGTERM has stopped this process or a command.
        FailedError, UserError: a command failed, and has said why on standard error.
    """
    context = multiprocessing.get_context("spawn")
    processes: list[SpawnProcess] = []
    with PreemptionWatch("stopped by SIGTERM; all commands have saved their work"):
        try:
            for place, command in enumerate(commands):
                process = context.Process(target=_run, args=(place, command), name=command.name)
                processes.append(process)
                process.start()
            _wait(processes)
        finally:
            started = [process for process in processes if process.pid is not None]
            for process in started:
                process.terminate()
            for process in started:
                process.join()


def _wait(processes: Sequence[SpawnProcess]) -> None:
    running = list(processes)
    while running:
        multiprocessing.connection.wait([process.sentinel for process in running])
        for process in [process for process in running if not process.is_alive()]:
            running.remove(process)
            _check(process.name, process.exitcode)


def _check(name: str, code: int | None) -> None:
    if code == EXIT_PREEMPTED:
        raise PreemptedError(f"'{name}' was stopped by SIGTERM")
    if code == EXIT_USER_ERROR:
        raise UserError(f"'{name}' found an error, which is described above")
    if code:
        raise FailedError(f"'{name}' ended with exit code {code}; see the messages above")


def _run(place: int, command: CommandProcess) -> None:
    # Ctrl-C reaches every process of the terminal's foreground group. The parent handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    run_program(command.name, lambda _: _run_command(place, command))


def _run_command(place: int, command: CommandProcess) -> None:
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ["TQDM_DESC"] = command.label
    if sys.stderr.isatty():
        os.environ["TQDM_POSITION"] = str(place)
    set_up_log(command.verbosity)
    module = importlib.import_module(command.module)
    parser = argparse.ArgumentParser(allow_abbrev=False)
    module.add_arguments(parser)
    module.run(parser.parse_args(command.options))


def _stop_with_parent() -> None:
    """Stops this process when its parent ends: a killed parent cannot stop it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
