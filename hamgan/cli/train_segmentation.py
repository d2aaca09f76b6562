"""Train, or resume training.

A new run needs a preset. An existing run resumes from its newest checkpoint, with the same settings. The run folder
receives config.json, metrics.jsonl, checkpoints/, samples/, tensorboard/ and report.html. After an interruption, run
the same command again to resume; after SIGTERM, it saves the current step and exits with code 75.

  hamnet train --run runs/scenes --preset scenes --data_dir data
  hamnet train --run runs/voc --preset voc_trainaug --data_dir data --init_from resnet101-2a57e44d.pth
  hamnet train --run runs/voc_test --preset voc_trainval --data_dir data --init_from runs/voc
  hamnet train --run runs/streets --preset own_masks --data_dir data --dataset streets
"""

import argparse
from typing import TYPE_CHECKING, Any

from hamgan.cli.training_command import TrainingCommand, add_training_options, run_training
from hamgan.config.segmentation_presets import SEGMENTATION_PRESETS, get_segmentation_preset

if TYPE_CHECKING:
    from hamgan.runs.directory import RunDirectory


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    add_training_options(
        parser,
        SEGMENTATION_PRESETS,
        datasets="data set of 'hamnet prepare', or another one of TFDS with images and masks",
        init_from="run, checkpoint such as RUN/checkpoints/ckpt-1000, or published file (.npz, .pth) of the network or "
        "its backbone, whose weights a new run starts from",
    )


def run(arguments: argparse.Namespace) -> None:
    """Runs the command."""
    command = TrainingCommand(get_segmentation_preset, _read_config, _train, "scenes", "hamnet evaluate")
    run_training(arguments, command)


def _read_config(run_directory: "RunDirectory") -> Any:
    return run_directory.read_segmentation_config()


def _train(*arguments: Any) -> None:
    from hamgan.segmentation.training.train import train

    train(*arguments)
