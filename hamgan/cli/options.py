"""Options that several commands share."""

import argparse
import os
import tempfile
from typing import Any

from hamgan.config import ExperimentConfig, override
from hamgan.errors import UserError


def positive_integer(text: str) -> int:
    """Parses a positive integer, for argparse's ``type=``."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value <= 0:
        raise argparse.ArgumentTypeError(f"expected a positive whole number, found '{text}'")
    return value


def check_output(option: str, path: str) -> None:
    """Checks that an output file can be written, before any work is done.

    Args:
        option: name of the command-line option.
        path: path of the file.

    Raises:
        UserError: if the file cannot be written.
    """
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise UserError(f"{option} {path}: there is no folder {folder}")
    if os.path.isdir(path):
        raise UserError(f"{option} {path} is a folder, expected a file")
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\n")
    except OSError as error:
        raise UserError(f"{option} {path}: cannot write into {folder}: {error.strerror}") from error


def add_run(parser: argparse.ArgumentParser) -> None:
    """Adds ``--run``."""
    parser.add_argument("--run", required=True, metavar="DIR", help="the run's folder")


def add_override(parser: argparse.ArgumentParser) -> None:
    """Adds ``--override``."""
    parser.add_argument(
        "--override",
        nargs="+",
        action="extend",
        default=[],
        metavar="FIELD=VALUE",
        help="set config fields by dotted path, such as train.global_batch=64 or model.generator.context=none",
    )


def add_data_dir(parser: argparse.ArgumentParser) -> None:
    """Adds ``--data_dir``."""
    parser.add_argument(
        "--data_dir",
        type=_folder,
        metavar="DIR",
        help="folder of the TFDS data sets (default: ~/tensorflow_datasets)",
    )


def _folder(text: str) -> str:
    """Path of a folder. A folder named "none" needs a prefix: overrides read "none" as no value."""
    return os.path.join(os.curdir, text) if text.lower() == "none" else text


def add_accelerator(parser: argparse.ArgumentParser) -> None:
    """Adds the options that :func:`strategy_of` reads."""
    parser.add_argument(
        "--accelerator",
        default="auto",
        metavar="KIND",
        help="auto, cpu, gpu or tpu (default: auto, a TPU if --tpu names one, otherwise GPUs if there are any)",
    )
    parser.add_argument(
        "--tpu", metavar="NAME", help="local (on a TPU VM, the default with --accelerator tpu), or a TPU's name"
    )
    parser.add_argument("--zone", help="zone of the TPU named by --tpu (default: this machine's)")
    parser.add_argument("--project", help="project of the TPU named by --tpu (default: this machine's)")
    parser.add_argument(
        "--cpu_replicas", type=int, default=1, metavar="N", help="spread the batch over N virtual CPU devices"
    )


def strategy_of(arguments: argparse.Namespace) -> Any:
    """Returns the selected ``tf.distribute.Strategy``. Call it before any other TensorFlow operation."""
    from hamgan.distribution.strategies import create_strategy

    return create_strategy(
        arguments.accelerator,
        cpu_replicas=arguments.cpu_replicas,
        tpu=arguments.tpu,
        zone=arguments.zone,
        project=arguments.project,
    )


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    """Adds ``--dry_run``."""
    parser.add_argument("--dry_run", action="store_true", help="print the resulting settings and exit")


def add_checkpoint(parser: argparse.ArgumentParser, choices: str) -> None:
    """Adds ``--checkpoint`` and ``--weights``."""
    parser.add_argument("--checkpoint", default="latest", metavar="WHICH", help=f"{choices} (default: latest)")
    parser.add_argument(
        "--weights",
        choices=("ema", "raw"),
        help="the generator's moving average (ema) or its weights (raw) (default: ema if the run has it)",
    )


def weights_of(arguments: argparse.Namespace, config: ExperimentConfig) -> str:
    """Returns the generator weights to use, "ema" or "raw".

    Raises:
        UserError: if the run has no moving average but ``--weights ema`` asks for it."""
    has_average = config.train.ema_decay > 0
    if arguments.weights == "ema" and not has_average:
        raise UserError("--weights ema: this run keeps no moving average (train.ema_decay is 0); use --weights raw")
    return arguments.weights or ("ema" if has_average else "raw")


def with_assignments(
    config: ExperimentConfig, assignments: dict[str, object], overrides: list[str]
) -> ExperimentConfig:
    """Returns the config with the options that are not None and then the overrides applied."""
    given = [f"{path}={value}" for path, value in assignments.items() if value is not None]
    return override(config, [*given, *overrides])
