"""Checks of the machine, the data set, the classifier and the run folder, before training spends accelerator time."""

import contextlib
import dataclasses
import logging
import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from hamgan import random_streams
from hamgan.config import ExperimentConfig
from hamgan.counted import counted
from hamgan.data.dataset import ClassificationDataset
from hamgan.distribution.strategies import describe, distribute, is_chief
from hamgan.errors import FailedError, UserError, reason_of
from hamgan.evaluation.evaluator import Evaluator
from hamgan.evaluation.features import DEFAULT_FOLDER
from hamgan.files import write_atomically
from hamgan.runs.checkpoints import restore, write_checkpoint
from hamgan.runs.directory import RunDirectory
from hamgan.sampling.grids import image_grid
from hamgan.training.gan import check_classes, class_counts_of
from hamgan.training.state import TrainState
from hamgan.training.step import TrainStep
from hamgan.training.train_function import make_train_function

_logger = logging.getLogger(__name__)

PACKAGES = ("tensorflow", "keras", "tensorflow-datasets", "tensorflow-gan", "tensorflow-hub", "numpy")
GRID_IMAGES = 64
TIMED_STEPS = 3
IMAGENET_INCEPTION_SCORE = (158.5, 166.5)
"""Range for 50,000 real validation images at 128x128: 159 in the published setup, 166 in the paper of BigGAN."""
FULL_COUNT = 50_000
_GIB = 1 << 30


class Finding(NamedTuple):
    """Result of one check."""

    name: str
    passed: bool
    detail: str
    seconds: float


class Doctor:
    """All checks, in order. Each reports its result in one line.

    Args:
        config: config of the planned experiment.
        run: folder of the planned run. The checks write only temporary files there.
        strategy: strategy of the planned run.
        grid_path: path of the picture of a batch of data.
        cache_dir: local folder for features.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        run: RunDirectory,
        strategy: tf.distribute.Strategy,
        *,
        grid_path: str,
        cache_dir: str = DEFAULT_FOLDER,
    ) -> None:
        self.config = config
        self.run = run
        self.strategy = strategy
        self.grid_path = grid_path
        self.cache_dir = cache_dir
        self._dataset: ClassificationDataset | None = None
        self._state: TrainState | None = None

    def findings(self, report: Callable[[Finding], Any]) -> list[Finding]:
        """Runs all checks and reports each. A failed check does not stop the others."""
        checks: dict[str, Callable[[], str]] = {
            "versions": self.check_versions,
            "devices": self.check_devices,
            "data": self.check_data,
            "real images": self.check_real_scores,
            "checkpoint": self.check_checkpoint,
            "training step": self.check_training_step,
        }
        findings = []
        for name, check in checks.items():
            start = time.monotonic()
            try:
                passed, detail = True, check()
            except (UserError, FailedError) as error:
                passed, detail = False, str(error)
            except Exception as error:  # A check must not hide the next.
                passed, detail = False, f"{type(error).__name__}: {reason_of(error)}"
            findings.append(Finding(name, passed, detail, time.monotonic() - start))
            report(findings[-1])
        return findings

    def check_versions(self) -> str:
        """Reports the versions of Python and of the packages, all of which have been imported by now."""
        versions = [f"{name} {metadata.version(name)}" for name in PACKAGES if name != "tensorflow"]
        return ", ".join([f"Python {platform.python_version()}", f"tensorflow {tf.__version__}", *versions])

    def check_devices(self) -> str:
        """Reports the devices, after a sum over all replicas."""
        replicas = self.strategy.num_replicas_in_sync
        ones = self.strategy.run(tf.function(lambda: tf.ones(())))
        total = float(self.strategy.reduce(tf.distribute.ReduceOp.SUM, ones, axis=None))
        if total != replicas:
            raise FailedError(f"expected a sum of {replicas} from {replicas} replicas, found {total:g}")
        images = self.config.train.global_batch // replicas
        return f"{describe(self.strategy)}, {counted(images, 'image')} each per step"

    def check_data(self) -> str:
        """Checks range and labels of the first training batch, and writes the picture."""
        dataset = ClassificationDataset(self.config.data)
        check_classes(self.config, dataset)
        start = time.monotonic()
        batches = dataset.training_batches(
            resolution=self.config.model.resolution,
            channels=self.config.model.channels,
            batch=self.config.train.global_batch,
            seed=self.config.train.seed,
        )
        with dataset.reading(self.config.data.train_split):
            images, labels = next(iter(batches.as_numpy_iterator()))
        seconds = time.monotonic() - start
        low, high = float(images.min()), float(images.max())
        if not (-1.0 <= low < high <= 1.0 and np.isfinite(images).all()):
            raise FailedError(f"expected finite images in [-1, 1] that are not constant, found {low:g} to {high:g}")
        columns = int(np.sqrt(min(len(images), GRID_IMAGES)))
        grid = image_grid(images[: columns * columns], columns=columns)
        write_atomically(self.grid_path, tf.io.encode_png(grid).numpy())
        self._dataset = dataset
        counts = " and ".join(
            f"{dataset.num_examples(split):,} of {split}"
            for split in (self.config.data.train_split, self.config.data.validation_split)
        )
        return (
            f"{self.config.data.dataset}: {counts}; {counted(len(np.unique(labels)), 'class')} in the first "
            f"{counted(len(images), 'image')}, read in {seconds:.1f} s; look at {self.grid_path}"
        )

    def check_real_scores(self) -> str:
        """Scores the real images with the classifier."""
        evaluator = Evaluator(self.config, self.strategy, self.cache_dir)
        real = evaluator.real_scores()
        if real is None:
            return "measured by the chief"
        fid, score = float(real["fid"] or 0.0), float(real["inception_score"] or 0.0)
        if not (np.isfinite(fid) and np.isfinite(score)):
            raise FailedError(f"expected finite scores of the real images, found FID {fid} and IS {score}")
        count = evaluator.validation_count
        said = f"FID of train against validation {fid:.2f}, IS {score:.2f} of {count:,} images"
        if real["accuracy"] is not None:
            said += f", accuracy {real['accuracy']:.1%}"
        said += f"; classifier {evaluator.classifier.sha256[:16]}"
        low, high = IMAGENET_INCEPTION_SCORE
        if not self._has_known_score(evaluator):
            return f"{said}; no reference IS for this data set"
        if not low <= score <= high:
            raise FailedError(
                f"{said}; expected an IS of {low} to {high} for ImageNet's validation split: suspect the pipeline"
            )
        return f"{said}, within the expected range ({low} to {high})"

    def _has_known_score(self, evaluator: Evaluator) -> bool:
        """Whether the known score applies: all of ImageNet's validation split at 128x128, with Inception."""
        return (
            self.config.data.dataset.startswith("imagenet")
            and self.config.model.num_classes == 1000
            and self.config.model.resolution == 128
            and evaluator.validation_count >= FULL_COUNT
            and "inception" in evaluator.classifier.handle
        )

    def check_checkpoint(self) -> str:
        """Writes a checkpoint of the whole training state into the run folder, reads it back, and deletes it."""
        state = self._training_state()
        if not is_chief(self.strategy):
            return "written by the chief"
        folder = os.path.join(self.run.path, "doctor")
        path = os.path.join(folder, "ckpt-0")
        is_new = not tf.io.gfile.exists(self.run.path)
        variables = state.variables()
        before = {name: np.asarray(variable) for name, variable in variables.items()}
        start = time.monotonic()
        try:
            write_checkpoint(path, variables)
            written = time.monotonic()
            restore(path, variables)
        finally:
            if tf.io.gfile.exists(folder):
                tf.io.gfile.rmtree(folder)
            if is_new:
                with contextlib.suppress(OSError):  # Another process may have started a run there.
                    os.rmdir(self.run.path)
        changed = [name for name, value in before.items() if not np.array_equal(value, np.asarray(variables[name]))]
        if changed:
            raise FailedError(f"{counted(len(changed), 'variable')} changed when read back, such as {changed[0]}")
        size = sum(value.nbytes for value in before.values()) / 1e6
        return (
            f"{size:,.0f} MB written into {self.run.path} in {written - start:.1f} s, "
            f"read back in {time.monotonic() - written:.1f} s"
        )

    def check_training_step(self) -> str:
        """Takes a few training steps, and reports time to the first step, speed and memory."""
        config, strategy = self.config, self.strategy
        if self._dataset is None:
            raise FailedError("skipped: needs the data")
        dataset = self._dataset
        state = self._training_state()
        iterator = iter(
            distribute(
                strategy,
                lambda host, num_hosts: dataset.training_batches(
                    resolution=config.model.resolution,
                    channels=config.model.channels,
                    batch=config.train.global_batch,
                    seed=config.train.seed,
                    host=host,
                    num_hosts=num_hosts,
                    batches_per_host=strategy.num_replicas_in_sync // num_hosts,
                ),
            )
        )
        train = make_train_function(TrainStep(state, config, strategy, class_counts_of(config, dataset)), strategy)
        stream = random_streams.run_stream(config.train.seed)
        start = time.monotonic()
        with dataset.reading(config.data.train_split):
            train(iterator, tf.constant(1), stream)
            first = time.monotonic()
            taken = train(iterator, tf.constant(TIMED_STEPS), stream)
        if int(taken.failed_step.numpy()) >= 0 or not bool(taken.weights_are_finite.numpy()):
            raise FailedError(f"expected finite losses and weights, found {_plain(taken.metrics)}")
        speed = TIMED_STEPS * config.train.global_batch / (time.monotonic() - first)
        days = config.train.steps * config.train.global_batch / speed / 86_400
        return (
            f"first after {first - start:.0f} s, then {speed:,.1f} images/s ({config.train.steps:,} steps: "
            f"{days:,.2f} days); {_memory()}"
        )

    def _training_state(self) -> TrainState:
        if self._state is None:
            with self.strategy.scope():
                self._state = TrainState(self.config)
        return self._state


def _plain(metrics: dict[str, tf.Tensor]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items()}


def _memory() -> str:
    """Returns the peak memory of the devices or, if they do not report it, of the process."""
    for device in tf.config.list_logical_devices("GPU"):
        return f"{tf.config.experimental.get_memory_info(device.name)['peak'] / _GIB:.1f} GiB peak GPU memory"
    unit = 1 if sys.platform == "darwin" else 1024
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _GIB:.1f} GiB peak host memory"


def without_side_effects(config: ExperimentConfig) -> ExperimentConfig:
    """Returns the config reduced to the scores that the doctor reads."""
    evaluation = dataclasses.replace(config.evaluation, repeats=1, bootstrap=0, fid_infinity=False, intra_classes=None)
    return dataclasses.replace(config, evaluation=evaluation)
