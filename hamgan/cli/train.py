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
from typing import TYPE_CHECKING, Any

from hamgan.cli.training_command import TrainingCommand, add_training_options, run_training
from hamgan.config.presets import PRESETS, get_preset

if TYPE_CHECKING:
    from hamgan.runs.directory import RunDirectory


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    add_training_options(
        parser,
        PRESETS,
        datasets="any TFDS classification data set",
        init_from="run, or checkpoint such as RUN/checkpoints/ckpt-1000, whose weights a new run starts from",
    )


def run(arguments: argparse.Namespace) -> None:
    """Runs the command."""
    run_training(arguments, TrainingCommand(get_preset, _read_config, _train, "digits", "hamgan evaluate"))


def _read_config(run_directory: "RunDirectory") -> Any:
    return run_directory.read_config()


def _train(*arguments: Any) -> None:
    from hamgan.training.gan import train

    train(*arguments)
