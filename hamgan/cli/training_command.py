"""What the train commands of ``hamgan`` and ``hamnet`` have in common: options, resuming and the report."""

import argparse
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from hamgan.cli.options import (
    add_accelerator,
    add_data_dir,
    add_dry_run,
    add_override,
    add_run,
    path_value,
    strategy_of,
    with_assignments,
)
from hamgan.config import to_json
from hamgan.errors import UserError, is_of_the_environment, reason_of
from hamgan.program import import_tensorflow_quietly
from hamgan.training.preemption import PreemptionWatch

if TYPE_CHECKING:
    from hamgan.runs.directory import RunDirectory

_logger = logging.getLogger(__name__)


class TrainingCommand(NamedTuple):
    """What differs between the train commands.

    Args:
        get_preset: function that returns the config of a preset by name.
        read_config: function that returns the config of an existing run.
        train: function that trains, called with config, run, strategy and watch.
        example: name of a preset, for error messages.
        rewritten_by: command that writes the report later, if it cannot be written.
    """

    get_preset: Callable[[str], Any]
    read_config: Callable[["RunDirectory"], Any]
    train: Callable[..., None]
    example: str
    rewritten_by: str


def add_training_options(
    parser: argparse.ArgumentParser, presets: Iterable[str], *, datasets: str, init_from: str
) -> None:
    """Adds the options of a train command.

    Args:
        parser: parser of the command.
        presets: names of the presets.
        datasets: description of the data sets that ``--dataset`` accepts.
        init_from: description of what ``--init_from`` accepts.
    """
    add_run(parser)
    parser.add_argument("--preset", metavar="NAME", help=f"settings to start from: {', '.join(presets)}")
    parser.add_argument("--dataset", metavar="NAME", help=f"{datasets} (default: the preset's)")
    add_data_dir(parser)
    parser.add_argument("--init_from", type=path_value, metavar="PATH", help=init_from)
    add_override(parser)
    add_accelerator(parser)
    add_dry_run(parser)
    parser.add_argument(
        "--on_collapse",
        metavar="WHAT",
        help="when a loss or a weight is not finite: stop, or rollback to the last checkpoint with new noise, at most "
        "train.max_rollbacks times (default: the preset's, stop)",
    )


def run_training(arguments: argparse.Namespace, command: TrainingCommand) -> None:
    """Trains, or resumes training, as the options say.

    Args:
        arguments: options of :func:`add_training_options`.
        command: what to train.
    """
    # From the start: loading TensorFlow and tracing the step take a while.
    with PreemptionWatch() as watch:
        _run(arguments, command, watch)


def _run(arguments: argparse.Namespace, command: TrainingCommand, watch: PreemptionWatch) -> None:
    options = {
        "data.dataset": arguments.dataset,
        "data.data_dir": arguments.data_dir,
        "train.init_from": arguments.init_from,
        "train.on_collapse": arguments.on_collapse,
    }
    preset = command.get_preset(arguments.preset) if arguments.preset else None
    if preset is not None:
        # Report typos before TensorFlow is loaded.
        config = with_assignments(preset, options, arguments.override)
        if arguments.dry_run:
            print(to_json(config), end="")
            return

    import_tensorflow_quietly()
    from hamgan.distribution.strategies import is_chief
    from hamgan.runs.directory import RunDirectory
    from hamgan.training.collapse import TrainingDivergedError
    from hamgan.training.start import resolved

    run_directory = RunDirectory(arguments.run)
    if preset is None and not run_directory.exists():
        raise UserError(f"no run in {arguments.run}; a new run needs --preset, such as --preset {command.example}")
    if run_directory.exists():
        begun = command.read_config(run_directory)
        # The config of a run names its data.
        options["data.data_dir"] = arguments.data_dir or begun.data.data_dir
        if preset is not None and not preset.data.dataset:
            options["data.dataset"] = arguments.dataset or begun.data.dataset
        if preset is not None and preset.train.init_from == "":
            options["train.init_from"] = arguments.init_from or begun.train.init_from or "none"
        config = with_assignments(preset or begun, options, arguments.override)
    if arguments.dry_run:
        print(to_json(config), end="")
        return
    strategy = strategy_of(arguments)
    try:
        command.train(resolved(config), run_directory, strategy, watch)
    except TrainingDivergedError:
        if is_chief(strategy):
            _write_report(run_directory, command)  # It shows what preceded the collapse.
        raise
    if is_chief(strategy):
        is_written = _write_report(run_directory, command)
        print(f"Run     {run_directory.path}")
        if is_written:
            print(f"Report  {run_directory.report_path}")


def _write_report(run_directory: "RunDirectory", command: TrainingCommand) -> bool:
    """Writes the report, or warns if it cannot: the run itself is saved. Returns whether it was written."""
    from hamgan.runs.report import write_report

    try:
        write_report(run_directory)
    except Exception as error:
        if not (isinstance(error, UserError) or is_of_the_environment(error)):
            raise
        path, reason = run_directory.report_path, reason_of(error)
        _logger.warning("Cannot write %s (%s); '%s' will", path, reason, command.rewritten_by)
        return False
    return True
