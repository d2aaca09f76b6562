"""Check everything that training and evaluation need, before you spend accelerator time.

The checks: versions, devices, a batch of data as a picture, FID and IS of the real images, a checkpoint written to the
run folder and read back, a few training steps. Each prints a line; the exit code is 1 if one fails. The picture and the
features of the real images, which evaluation reuses, are the only files left behind.

  hamgan doctor --preset digits --run runs/digits --data_dir data --classifier data/digits_classifier
  hamgan doctor --preset hamgan_strong --run gs://bucket/runs/strong --data_dir gs://bucket/tfds --accelerator tpu
"""

import argparse
import sys
from typing import Any

from hamgan.cli.options import (
    add_accelerator,
    add_data_dir,
    add_override,
    add_run,
    check_output,
    strategy_of,
    with_assignments,
)
from hamgan.program import import_tensorflow_quietly

_GREEN, _RED, _PLAIN = "\033[32m", "\033[31m", "\033[0m"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    from hamgan.config.presets import PRESETS

    add_run(parser)
    parser.add_argument("--preset", metavar="NAME", help=f"{', '.join(PRESETS)} (default: the settings of the run)")
    parser.add_argument("--dataset", metavar="NAME", help="any TFDS classification data set (default: the preset's)")
    parser.add_argument(
        "--classifier", metavar="HANDLE", help="TF-Hub handle or SavedModel (default: TF-GAN's Inception)"
    )
    parser.add_argument("--num_samples", type=int, metavar="N", help="maximum number of real images per split")
    parser.add_argument(
        "--out", default="doctor_data.png", metavar="PNG", help="picture of a batch of data (default: doctor_data.png)"
    )
    parser.add_argument(
        "--cache_dir", metavar="DIR", help="local folder for features (default: ~/.cache/hamgan/features)"
    )
    add_data_dir(parser)
    add_override(parser)
    add_accelerator(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; returns the exit code."""
    from hamgan.config.presets import get_preset

    preset = get_preset(arguments.preset) if arguments.preset else None
    check_output("--out", arguments.out)

    import_tensorflow_quietly()
    from hamgan.data.fitted_config import fitted_config
    from hamgan.evaluation.doctor import Doctor, without_side_effects
    from hamgan.evaluation.features import DEFAULT_FOLDER
    from hamgan.runs.directory import RunDirectory

    run_directory = RunDirectory(arguments.run)
    config = with_assignments(
        preset or run_directory.read_config(),
        {
            "data.dataset": arguments.dataset,
            "data.data_dir": arguments.data_dir,
            "evaluation.classifier": arguments.classifier,
            "evaluation.num_samples": arguments.num_samples,
        },
        arguments.override,
    )
    strategy = strategy_of(arguments)
    doctor = Doctor(
        without_side_effects(fitted_config(config)),
        run_directory,
        strategy,
        grid_path=arguments.out,
        cache_dir=arguments.cache_dir or DEFAULT_FOLDER,
    )
    findings = doctor.findings(_show)
    red = [finding.name for finding in findings if not finding.passed]
    print(f"Red: {', '.join(red)}" if red else "All green")
    return 1 if red else 0


def _show(finding: Any) -> None:
    mark = "ok" if finding.passed else "RED"
    if sys.stdout.isatty():
        mark = f"{_GREEN if finding.passed else _RED}{mark}{_PLAIN}"
    print(f"{mark:4} {finding.name}: {finding.detail} ({finding.seconds:.1f} s)", flush=True)
