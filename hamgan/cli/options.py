"""Options that several commands share."""

import argparse
import os
import tempfile
from typing import Any, TypeVar

from hamgan.config import ExperimentConfig, SegmentationConfig, override
from hamgan.errors import UserError
from hamgan.runs.pretrained import find_run

Config = TypeVar("Config", ExperimentConfig, SegmentationConfig)


def positive_integer(text: str) -> int:
    """Parses the value of an option, as its ``type=``."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value <= 0:
        raise argparse.ArgumentTypeError(f"expected a positive whole number, found '{text}'")
    return value


def check_output(option: str, path: str) -> None:
    """Checks that a file can be written, before the work whose result it will hold.

    Args:
        option: name of the option that names the file.
        path: path of the file.

    Raises:
        UserError: it cannot be written.
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


def check_output_folder(option: str, path: str) -> None:
    """Checks that files can be written into a folder, which may not exist yet, before the work whose result they hold.

    Args:
        option: name of the option that names the folder.
        path: path of the folder; one in a bucket is not checked.

    Raises:
        UserError: they cannot be written.
    """
    if "://" in path:
        return
    existing = os.path.abspath(path)
    while not os.path.lexists(existing):
        existing = os.path.dirname(existing)
    if not os.path.isdir(existing):
        raise UserError(f"{option} {path}: {existing} is a file, expected a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(f"{option} {path}: cannot write into {existing}; choose another folder")


def add_page(parser: argparse.ArgumentParser, name: str) -> None:
    """Adds ``--out``, the path of a page that by default is a file of the run's folder."""
    parser.add_argument("--out", metavar="HTML", help=f"path of the page (default: {name} in the run folder)")


def page_path(out: str | None, run: str, name: str) -> str:
    """Returns the path of a page, checked before the work whose result it will hold.

    Args:
        out: value of ``--out``.
        run: value of ``--run``.
        name: name of the file in the folder of the run.

    Raises:
        UserError: if a local file cannot be written, or ``--out`` is missing for a generator of the package.
    """
    if out is None and find_run(run) != run:
        raise UserError(f"--out: expected the path of the page, because '{run}' comes with the package; found none")
    path = os.path.join(run, name) if out is None else out
    if "://" not in path and (out is not None or os.path.isdir(run)):
        check_output("--out", path)
    return path


def add_run(parser: argparse.ArgumentParser) -> None:
    """Adds ``--run``."""
    parser.add_argument("--run", required=True, metavar="DIR", help="run folder")


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
        type=path_value,
        metavar="DIR",
        help="folder of the TFDS data sets (default: TFDS's own, ~/tensorflow_datasets)",
    )


def path_value(text: str) -> str:
    """Parses a path, as the ``type=`` of an option. In an assignment to a config, "none" would mean no value."""
    return os.path.join(os.curdir, text) if text.lower() == "none" else text


def add_accelerator(parser: argparse.ArgumentParser) -> None:
    """Adds the options of :func:`strategy_of`."""
    parser.add_argument(
        "--accelerator",
        default="auto",
        metavar="KIND",
        help="auto, cpu, gpu or tpu (default: auto: a TPU if --tpu names one, else GPUs if there are any)",
    )
    parser.add_argument(
        "--tpu", metavar="NAME", help="name of a TPU, or local on a TPU VM (default with --accelerator tpu)"
    )
    parser.add_argument("--zone", help="zone of a TPU named by --tpu (default: this machine's)")
    parser.add_argument("--project", help="project of a TPU named by --tpu (default: this machine's)")
    parser.add_argument(
        "--cpu_replicas", type=int, default=1, metavar="N", help="number of virtual CPU devices that share the batch"
    )


def strategy_of(arguments: argparse.Namespace) -> Any:
    """Returns the ``tf.distribute.Strategy`` that the options select; call it before any TensorFlow operation."""
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
    parser.add_argument("--dry_run", action="store_true", help="print the resulting settings, and do nothing else")


def add_checkpoint(parser: argparse.ArgumentParser, choices: str) -> None:
    """Adds ``--checkpoint`` and ``--weights``."""
    parser.add_argument("--checkpoint", default="latest", metavar="WHICH", help=f"{choices} (default: latest)")
    parser.add_argument(
        "--weights",
        choices=("ema", "raw"),
        help="moving average of the generator's weights, or the weights themselves (default: ema if the run keeps it)",
    )


def with_assignments(config: Config, assignments: dict[str, object], overrides: list[str]) -> Config:
    """Returns the config with the options that are not None, and then the overrides, applied."""
    given: list[str] = [f"{path}={value}" for path, value in assignments.items() if value is not None]
    return override(config, [*given, *overrides])


def add_network(
    parser: argparse.ArgumentParser, choices: str = "latest, best, a step, or the path of a checkpoint"
) -> None:
    """Adds ``--run`` and ``--checkpoint`` of a segmentation network."""
    parser.add_argument("--run", required=True, metavar="PATH", help="run folder, or a .keras file")
    parser.add_argument(
        "--checkpoint",
        default="latest",
        metavar="WHICH",
        help=f"checkpoint of a run: {choices} (default: latest)",
    )
