"""Trained networks: the checkpoints of a run, its generator and its discriminator."""

import functools
import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from hamgan.config import ExperimentConfig
from hamgan.errors import UserError, did_you_mean
from hamgan.networks import Discriminator, Generator
from hamgan.networks.build import build_discriminator, build_generator
from hamgan.pretrained import find_run
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
from hamgan.sampling.grids import to_uint8
from hamgan.sampling.sampler import Sampler

if TYPE_CHECKING:
    from hamgan.sampling.directions import Directions
    from hamgan.sampling.inversion import Inversion

WEIGHTS = {"ema": EMA_NAME, "raw": "generator"}


class Run:
    """A run with trained networks, from :func:`load`.

    Attributes:
        path: path of the run's folder.
        config: config of the run, an :class:`hamgan.config.ExperimentConfig`.
        step: training step of the checkpoint.
        checkpoint: path of the checkpoint, without suffix.
        weights: the generator's weights: "ema" (the moving average) or "raw".
        class_names: name of each class; the labels as text if the run has no names.

    Example:
        >>> import hamgan
        >>> run = hamgan.Run("runs/digits")
        >>> inputs = run.generator.draw_inputs(seed=0, count=2)
        >>> run.discriminator(run.generator(*inputs), inputs.labels).shape
        TensorShape([2, 1])
    """

    def __init__(self, path: str, *, checkpoint: str = "latest", weights: str | None = None) -> None:
        directory = RunDirectory(find_run(path))
        self.path = directory.path
        self.config = directory.read_config()
        self.step, self.checkpoint = find_checkpoint(directory, checkpoint)
        self.weights = choose_weights(self.config, weights)
        self.class_names = directory.read_class_names(self.config.model.num_classes)

    def __repr__(self) -> str:
        return f"Run({self.path!r}, step={self.step}, weights={self.weights!r})"

    @functools.cached_property
    def generator(self) -> Generator:
        """The generator, a Keras model that maps z and labels to images in [-1, 1]."""
        return load_generator(self.config, self.checkpoint, self.weights)

    @functools.cached_property
    def discriminator(self) -> Discriminator:
        """The discriminator, a Keras model that maps images in [-1, 1] and labels to logits."""
        network = build_discriminator(self.config.model, precision=weights_precision(self.config))
        restore(self.checkpoint, network_variables(network), part=network.name)
        return network

    @functools.cached_property
    def class_counts(self) -> list[int] | None:
        """Number of training images of each class; None if the run draws labels uniformly.

        ``generator.draw_inputs(..., class_counts=run.class_counts)`` draws labels as in training.
        """
        return RunDirectory(self.path).read_class_counts(self.config)

    def labels(self, classes: Sequence[int | str]) -> list[int]:
        """Returns the labels of classes.

        Args:
            classes: names of classes, or labels as integers or as text such as "#7". Text that is not a
                name but a number is a label.

        Raises:
            UserError: if a class does not exist.
        """
        return [self._label(item) for item in classes]

    def _label(self, item: int | str) -> int:
        num_classes = self.config.model.num_classes
        if isinstance(item, str):
            if item in self.class_names:
                return self.class_names.index(item)
            number = item.removeprefix("#")
            if not number.isdecimal():
                hint = did_you_mean(item, self.class_names) or f"; labels are 0 to {num_classes - 1}"
                raise UserError(f"unknown class '{item}' of {self.path}{hint}")
            item = int(number)
        if not 0 <= item < num_classes:
            raise UserError(f"classes of {self.path} are 0 to {num_classes - 1}, found {item}")
        return int(item)

    def sample(
        self,
        classes: Sequence[int | str] | None = None,
        *,
        per_class: int = 1,
        seed: int = 0,
        truncation: float | None = None,
        batch: int = 50,
    ) -> np.ndarray:
        """Generates images, deterministically for given arguments.

        Args:
            classes: names or labels of the classes, see :meth:`labels`; by default, all.
            per_class: number of images of each class.
            seed: seed of the latent vectors, in [0, 2^31).
            truncation: bound t of latent vectors from the normal distribution truncated to [-t, t]. Smaller bounds
                give more typical and less varied images.
            batch: number of images per batch.

        Returns:
            Images, uint8, shape ``(len(classes) * per_class, resolution, resolution, channels)``, grouped by
            class.

        Raises:
            UserError: if a class does not exist or an argument is out of range.
        """
        if per_class < 1 or batch < 1:
            raise UserError(f"per_class and batch must be positive, found {per_class} and {batch}")
        if not 0 <= seed < 2**31:
            raise UserError(f"seed must be in [0, 2^31), found {seed}")
        if truncation is not None and not truncation > 0:
            raise UserError(f"truncation must be positive, found {truncation}")
        chosen = range(self.config.model.num_classes) if classes is None else self.labels(classes)
        labels = np.repeat(np.asarray(chosen, np.int32), per_class)
        if not len(labels):
            raise UserError("classes must name at least one class, found none")
        sampler = Sampler(self.generator, seed=seed, batch=min(batch, len(labels)), truncation=truncation)
        return np.concatenate([to_uint8(images) for images in sampler.batches(labels)])

    def invert(self, image: str | np.ndarray, **options: Any) -> "Inversion":
        """Finds the latent vector and the class whose generated image is most similar to a given image.

        Args:
            image: path of a picture, or image, uint8 or float in [-1, 1], shape
                ``(resolution, resolution, channels)``.
            options: ``classes``, ``classifier``, ``starts``, ``steps`` and more, see
                :func:`hamgan.sampling.inversion.invert`.

        Returns:
            The latent vector (``latents``), the class (``label``), the reconstruction (uint8), ``psnr`` in dB and more.

        Raises:
            UserError: if the picture cannot be read, a class does not exist or an argument is out of range.
        """
        from hamgan.sampling.inversion import invert

        return invert(self, image, **options)

    def directions(self, method: str = "sefa", **options: Any) -> "Directions":
        """Finds directions of the latent space along which images change most.

        Args:
            method: "sefa" or "ganspace".
            options: ``num``, ``classes`` and ``seed``, see :func:`hamgan.sampling.directions.find_directions`.

        Returns:
            Unit vectors, ``(k, z_dim)``, the importance of each, ``(k,)``, and the method.

        Raises:
            UserError: if the method or a class does not exist, or an argument is out of range.
        """
        from hamgan.sampling.directions import find_directions

        return find_directions(self, method=method, **options)


def load(path: str, *, checkpoint: str = "latest", weights: str | None = None) -> Run:
    """Loads the trained networks of a run.

    Args:
        path: folder of the run, local or ``gs://``, or "digits": a generator that comes with the package.
        checkpoint: "latest", "best" (the lowest FID among those evaluated), a step, or the path of a checkpoint.
        weights: the generator's weights, "ema" (the moving average) or "raw"; by default, "ema" if the run has it.

    Raises:
        UserError: if the run, the checkpoint or the moving average does not exist.

    Example:
        >>> import hamgan
        >>> run = hamgan.load("digits")
        >>> run.sample(classes=["3", 7], per_class=8, seed=1, truncation=0.7).shape
        (16, 32, 32, 3)
    """
    return Run(path, checkpoint=checkpoint, weights=weights)


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


def weights_precision(config: ExperimentConfig) -> str:
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
        best = run.best_step(among=steps)
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
