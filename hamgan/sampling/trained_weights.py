"""Trained weights of a run: which checkpoint, which of its generators, and the network restored from it."""

import os
import re

import tensorflow as tf

from hamgan.config import AnyConfig, ExperimentConfig
from hamgan.errors import UserError
from hamgan.networks import Generator
from hamgan.networks.build import build_generator
from hamgan.runs.checkpoints import (
    EMA_NAME,
    PREFIX,
    checkpoint_parts,
    checkpoint_path,
    checkpoint_steps,
    network_variables,
    restore,
)
from hamgan.runs.directory import RunDirectory

WEIGHTS = {"ema": EMA_NAME, "raw": "generator"}
"""Name in checkpoints of each choice of the generator's weights."""


def choose_weights(config: ExperimentConfig, weights: str | None) -> str:
    """Returns the generator weights to use; by default, "ema" if the run has a moving average.

    Raises:
        UserError: if the choice is unknown or the run has no moving average.
    """
    has_average = config.train.ema_decay > 0
    if weights is None:
        return "ema" if has_average else "raw"
    if weights not in WEIGHTS:
        raise UserError(f"weights must be {' or '.join(WEIGHTS)}, found '{weights}'")
    if weights == "ema" and not has_average:
        raise UserError("the run keeps no moving average (train.ema_decay is 0): use the raw weights")
    return weights


def load_generator(config: ExperimentConfig, path: str, weights: str, generator: Generator | None = None) -> Generator:
    """Builds the generator, unless one is given, and restores it from a checkpoint.

    Args:
        config: config of the run. The generator computes in float32, or in float64 if the run did.
        path: path of the checkpoint, without suffix.
        weights: "ema" (the average) or "raw".
        generator: generator to reuse, loaded earlier with the same config and weights.

    Raises:
        UserError: if the checkpoint is missing or damaged, or has another architecture.
    """
    part = WEIGHTS[weights]
    if part not in checkpoint_parts(path):
        raise UserError(f"checkpoint {path} has no {weights} generator weights; use --weights raw")
    if generator is None:
        generator = build_generator(config.model, name=part, precision=weights_precision(config))
    restore(path, network_variables(generator), part=part)
    return generator


def weights_precision(config: AnyConfig) -> str:
    """Returns the dtype of checkpoint weights: "float64" if it trains in float64, otherwise "float32"."""
    return "float64" if config.train.precision == "float64" else "float32"


def find_checkpoints(run: RunDirectory, which: str) -> list[tuple[int, str]]:
    """Returns (step, path) of the selected checkpoints.

    Args:
        run: folder of the run.
        which: "latest", "best" (lowest FID of those evaluated), "all", a step, or the path (without suffix) of
            any checkpoint of the same networks.

    Raises:
        UserError: if the checkpoint does not exist; the message lists the existing steps.
    """
    if os.sep in which:
        return [_checkpoint_at(which)]
    steps = checkpoint_steps(run.checkpoints)
    if not steps:
        raise UserError(f"no checkpoint in {run.checkpoints}; 'hamgan train --run {run.path}' creates them")
    if which == "all":
        chosen = steps
    elif which == "latest":
        chosen = steps[-1:]
    elif which == "best":
        best = run.evaluations.best_step(among=steps)
        if best is None:
            raise UserError(
                "--checkpoint best: no existing checkpoint has been evaluated; "
                f"'hamgan evaluate --run {run.path} --checkpoint all' evaluates them"
            )
        chosen = [best]
    elif which.isdecimal() and int(which) in steps:
        chosen = [int(which)]
    else:
        raise UserError(
            f"--checkpoint must be latest, best, all, a path or a step that was saved, found '{which}'; "
            f"{os.path.basename(run.path)} has {', '.join(map(str, steps))}"
        )
    return [(step, checkpoint_path(run.checkpoints, step)) for step in chosen]


def _checkpoint_at(path: str) -> tuple[int, str]:
    path = path.removesuffix(".index")
    step = re.search(r"-(\d+)$", path)
    if step is None or not tf.io.gfile.exists(f"{path}.index"):
        raise UserError(
            f"--checkpoint {path}: expected a checkpoint named like {PREFIX}-1000, with a file {path}.index; found none"
        )
    return int(step[1]), path


def find_checkpoint(run: RunDirectory, which: str) -> tuple[int, str]:
    """Returns (step, path) of a single checkpoint: "latest", "best", a step or a path.

    Raises:
        UserError: if the checkpoint does not exist, or for "all".
    """
    if which == "all":
        raise UserError("--checkpoint all: one checkpoint is expected here; give a step, or latest")
    return find_checkpoints(run, which)[0]
