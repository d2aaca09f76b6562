"""Train, or resume training.

A new run needs a preset. An existing run resumes from its newest checkpoint, with the same settings. The run folder
receives config.json, metrics.jsonl, checkpoints/, samples/, tensorboard/ and report.html. After an interruption, run
the same command again to resume; after SIGTERM, it saves the current step and exits with code 75.

  hamgan train --run runs/digits --preset digits --data_dir data
  hamgan train --run gs://bucket/runs/strong --preset hamgan_strong --accelerator tpu --data_dir gs://bucket/tfds
  hamgan train --run runs/flowers --preset small_data --dataset tf_flowers --override model.resolution=64
  hamgan train --run runs/tuned --preset digits --data_dir data --dataset my_data_set --init_from runs/digits
"""

import argparse
import logging
from typing import TYPE_CHECKING

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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    from hamgan.config.presets import PRESETS

    add_run(parser)
    parser.add_argument("--preset", metavar="NAME", help=f"settings to start from: {', '.join(PRESETS)}")
    parser.add_argument("--dataset", metavar="NAME", help="any TFDS classification data set (default: the preset's)")
    add_data_dir(parser)
    parser.add_argument(
        "--init_from",
        type=path_value,
        metavar="PATH",
        help="run, or checkpoint such as RUN/checkpoints/ckpt-1000, whose weights a new run starts from",
    )
    add_override(parser)
    add_accelerator(parser)
    add_dry_run(parser)
    parser.add_argument(
        "--on_collapse",
        metavar="WHAT",
        help="when a loss or a weight is not finite: stop, or rollback to the last checkpoint with new noise, at most "
        "train.max_rollbacks times (default: the preset's, stop)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Runs the command."""
    # From the start: loading TensorFlow and tracing the step take a while.
    with PreemptionWatch() as watch:
        _run(arguments, watch)


def _run(arguments: argparse.Namespace, watch: PreemptionWatch) -> None:
    from hamgan.config.presets import get_preset

    options = {
        "data.dataset": arguments.dataset,
        "data.data_dir": arguments.data_dir,
        "train.init_from": arguments.init_from,
        "train.on_collapse": arguments.on_collapse,
    }
    preset = get_preset(arguments.preset) if arguments.preset else None
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
    from hamgan.training.loop import train
    from hamgan.training.start import resolved

    run_directory = RunDirectory(arguments.run)
    if preset is None and not run_directory.exists():
        raise UserError(f"no run in {arguments.run}; a new run needs --preset, such as --preset digits")
    if run_directory.exists():
        begun = run_directory.read_config()
        # The config of a run names its data.
        options["data.data_dir"] = arguments.data_dir or begun.data.data_dir
        if preset is not None and not preset.data.dataset:
            options["data.dataset"] = arguments.dataset or begun.data.dataset
        config = with_assignments(preset or begun, options, arguments.override)
    if arguments.dry_run:
        print(to_json(config), end="")
        return
    strategy = strategy_of(arguments)
    try:
        train(resolved(config), run_directory, strategy, watch)
    except TrainingDivergedError:
        if is_chief(strategy):
            _write_report(run_directory)  # It shows what preceded the collapse.
        raise
    if is_chief(strategy):
        is_written = _write_report(run_directory)
        print(f"Run     {run_directory.path}")
        if is_written:
            print(f"Report  {run_directory.report_path}")


def _write_report(run_directory: "RunDirectory") -> bool:
    """Writes the report, or warns if it cannot: the run itself is saved. Returns whether it was written."""
    from hamgan.runs.report import write_report

    try:
        write_report(run_directory)
    except Exception as error:
        if not (isinstance(error, UserError) or is_of_the_environment(error)):
            raise
        _logger.warning("Cannot write %s (%s); 'hamgan evaluate' will", run_directory.report_path, reason_of(error))
        return False
    return True
