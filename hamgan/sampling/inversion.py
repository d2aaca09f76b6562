"""Inversion: the latent vector and the class whose generated image is most similar to a given image."""

import contextlib
import dataclasses
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from hamgan import random_streams
from hamgan.data.image_file import read_image
from hamgan.errors import UserError
from hamgan.files import write_atomically
from hamgan.networks.inputs import GeneratorInputs
from hamgan.random_streams import Purpose
from hamgan.sampling.grids import enlarged, image_grid, to_uint8
from hamgan.sampling.latents import Latents, save_latents

__all__ = ["Inversion", "invert"]

if TYPE_CHECKING:
    from hamgan.sampling.trained import Run


ImageClassifier = Callable[[tf.Tensor], Mapping[str, tf.Tensor]]
"""Maps float32 images in [-1, 1] to ``logits`` and ``pool_3``: a :class:`hamgan.evaluation.classifier.Classifier`."""

STARTS = 16
STEPS = 300
LEARNING_RATE = 0.1
FEATURE_WEIGHT = 0.1
PRIOR_WEIGHT = 1e-3
BATCH = 40
"""Most images per call of the generator."""

MOST_CLASSES = 20
"""Most classes that are tried without a choice by the classifier."""
_CLASSES_BY_LOGITS = 5
_STARTS_PER_CLASS = 4
_STEPS_PER_CLASS = 60
_WARMUP = 0.05
_COOLDOWN = 0.25
_PEAK = 2.0
"""Difference between white and black."""
_SMALLEST_PICTURE = 128


@dataclasses.dataclass(frozen=True, eq=False)
class Inversion:
    """Result of :func:`invert`.

    Attributes:
        latents: latent vector and class, in the form of :func:`hamgan.sampling.latents.save_latents`.
        label: label of the class.
        target: preprocessed image, uint8, shape ``(resolution, resolution, channels)``.
        reconstruction: generated image, uint8, of the same shape.
        psnr: peak signal-to-noise ratio of the reconstruction, in dB.
        feature_distance: distance of the classifier's features, divided by the norm of those of the target; None
            without a classifier.
        class_losses: lowest loss of each class that was tried, by label; empty if there was only one.

    Example:
        >>> import hamgan
        >>> run = hamgan.load("runs/digits")
        >>> result = run.invert(run.sample(["7"])[0], classes=["7"], starts=2, steps=5)
        >>> result.reconstruction.shape
        (32, 32, 3)
    """

    latents: Latents
    label: int
    target: np.ndarray
    reconstruction: np.ndarray
    psnr: float
    feature_distance: float | None
    class_losses: dict[int, float]


def invert(
    run: "Run",
    image: str | np.ndarray,
    *,
    classes: Sequence[int | str] | None = None,
    classifier: ImageClassifier | None = None,
    starts: int = STARTS,
    steps: int = STEPS,
    learning_rate: float = LEARNING_RATE,
    feature_weight: float = FEATURE_WEIGHT,
    prior_weight: float = PRIOR_WEIGHT,
    seed: int = 0,
) -> Inversion:
    """Finds the latent vector and the class whose generated image is most similar to a given image.

    Minimises, by Adam from several random starts,

        mean (G(z) - x)^2 + feature_weight |f(G(z)) - f(x)|^2 / |f(x)|^2 + prior_weight mean(z^2)

    over z, where f are the classifier's features. The last term is the negative log density of latent vectors, up to
    constants. The learning rate rises over the first 5 % of the steps, and falls to 0 over the last 25 %.

    Several classes are first tried for a few steps each; the one with the lowest loss is optimised further. Where the
    classifier has as many outputs as the run has classes, only the five that it ranks highest are tried.

    Initial bases are those of sample 0 of ``seed`` in all starts, so that the sampler generates the reconstruction from
    the latent vector and the same seed. The gradient with respect to z passes the last step of a decomposition only, as
    in training.

    Args:
        run: run with a trained generator.
        image: path of a picture (any format that Pillow opens, see :func:`hamgan.data.image_file.read_image`), or
            image, uint8 or float in [-1, 1], shape ``(resolution, resolution, channels)``.
        classes: names or labels of the classes to try; by default, all.
        classifier: function of images that returns logits and features; None for the difference of pixels only.
        starts: number of latent vectors that are optimised at once.
        steps: number of steps.
        learning_rate: largest learning rate of Adam.
        feature_weight: weight of the features.
        prior_weight: weight of the prior. Larger weights give more typical, less exact images.
        seed: seed of the starts and the initial bases.

    Returns:
        The latent vector, the class, the reconstruction and how near it is.

    Raises:
        UserError: if the picture cannot be read, a class does not exist, an argument is out of range, there are too
            many classes to try, or the classifier has no gradient.

    Reference: Zhu et al., Generative Visual Manipulation on the Natural Image Manifold (ECCV 2016), section 3.1, for
    the loss; Karras et al., Analyzing and Improving the Image Quality of StyleGAN (CVPR 2020), appendix D, for the
    learning rate.

    Example:
        >>> import hamgan
        >>> from hamgan.sampling.inversion import invert
        >>> run = hamgan.load("runs/digits")
        >>> result = invert(run, run.sample(["7"])[0], classes=["7"], starts=2, steps=5)
        >>> result.latents.z.shape, result.label
        ((1, 6), 7)
    """
    _check(starts, steps, learning_rate, feature_weight, prior_weight, seed)
    model = run.config.model
    if isinstance(image, str):
        target = read_image(image, resolution=model.resolution, channels=model.channels)
    else:
        target = _as_float(image, (model.resolution, model.resolution, model.channels))
    problem = _Problem(run, target, classifier, feature_weight, prior_weight, seed)
    candidates = _candidates(run, classes, problem.target_outputs)
    begun = problem.random_latents(starts)
    class_losses: dict[int, float] = {}
    label = candidates[0]
    if len(candidates) > 1:
        few = min(starts, _STARTS_PER_CLASS)
        z = np.tile(problem.random_latents(few), (len(candidates), 1))
        labels = np.repeat(candidates, few)
        z, losses = problem.minimize(
            z, labels, min(steps, _STEPS_PER_CLASS), learning_rate, f"{len(candidates)} classes"
        )
        of_classes = losses.reshape(len(candidates), few).min(axis=1)
        class_losses = {candidate: float(loss) for candidate, loss in zip(candidates, of_classes, strict=True)}
        label = candidates[int(of_classes.argmin())]
        begun[:few] = z[labels == label]
    z, losses = problem.minimize(begun, np.full(starts, label), steps, learning_rate, run.class_names[label])
    return problem.result(z[losses.argmin()][np.newaxis], label, class_losses)


def _check(
    starts: int, steps: int, learning_rate: float, feature_weight: float, prior_weight: float, seed: int
) -> None:
    if starts < 1 or steps < 1:
        raise UserError(f"starts and steps must be positive, found {starts} and {steps}")
    if not 0 < learning_rate < math.inf:
        raise UserError(f"the learning rate must be positive, found {learning_rate}")
    if not (0 <= feature_weight < math.inf and 0 <= prior_weight < math.inf):
        raise UserError(f"weights of a loss must not be negative, found {feature_weight} and {prior_weight}")
    if not 0 <= seed < 2**31:
        raise UserError(f"seed must be in [0, 2^31), found {seed}")


def _as_float(image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if image.shape != shape:
        raise UserError(f"expected an image of shape {shape}, found {image.shape}; a path is cropped and resampled")
    return image.astype(np.float32) / 127.5 - 1.0 if image.dtype == np.uint8 else image.astype(np.float32)


def _candidates(
    run: "Run", classes: Sequence[int | str] | None, target_outputs: Mapping[str, tf.Tensor] | None
) -> list[int]:
    """Returns the labels of the classes to try."""
    if classes is not None:
        labels = list(dict.fromkeys(run.labels(classes)))
        if not labels:
            raise UserError("classes must name at least one class, found none")
        return labels
    num_classes = run.config.model.num_classes
    if target_outputs is not None and target_outputs["logits"].shape[1] == num_classes:
        best = np.argsort(-target_outputs["logits"].numpy()[0], kind="stable")[:_CLASSES_BY_LOGITS]
        return [int(label) for label in best]
    if num_classes > MOST_CLASSES:
        raise UserError(
            f"{run.path} has {num_classes} classes, and at most {MOST_CLASSES} can be tried without a classifier of "
            "these classes; pass --class with one or several of them"
        )
    return list(range(num_classes))


class _Problem:
    """The loss of one image, and its minimisation over latent vectors."""

    def __init__(
        self,
        run: "Run",
        target: np.ndarray,
        classifier: ImageClassifier | None,
        feature_weight: float,
        prior_weight: float,
        seed: int,
    ) -> None:
        self._generator = run.generator
        self._num_classes = run.config.model.num_classes
        self._target = tf.constant(target)
        self._classifier = classifier
        self._feature_weight = feature_weight
        self._prior_weight = prior_weight
        self._start_key = random_streams.fold(seed, Purpose.INVERSION)
        key = random_streams.fold(seed, Purpose.SAMPLES)
        self._inputs = self._generator.draw_inputs(key, count=1, labels=tf.zeros(1, tf.int32))
        self.target_outputs = None if classifier is None else classifier(self._target[tf.newaxis])
        if self.target_outputs is not None:
            self._check_gradient()
            self._features = tf.stop_gradient(self.target_outputs["pool_3"])
            self._squared_norm = tf.maximum(tf.reduce_sum(self._features**2), keras.config.epsilon())

    def _check_gradient(self) -> None:
        """Raises UserError if the features have no gradient: their part of the loss would be ignored silently."""
        gradient = None
        with contextlib.suppress(LookupError), tf.GradientTape() as tape:
            images = self._target[tf.newaxis]
            tape.watch(images)
            gradient = tape.gradient(self._classifier(images)["pool_3"], images)  # type: ignore[misc]
        if gradient is None:
            raise UserError(
                "the features of the classifier have no gradient with respect to images; export it with "
                "gradients, or pass --classifier none"
            )

    def random_latents(self, count: int) -> np.ndarray:
        """Draws starts, float32, shape ``(count, z_dim)``."""
        shape = (self._generator.z_dim,)
        return random_streams.draw("normal", self._start_key, first=0, count=count, shape=shape).numpy()

    def _inputs_of(self, z: tf.Tensor, labels: tf.Tensor) -> GeneratorInputs:
        return self._inputs.repeated(z.shape[0])._replace(z=z, labels=labels)

    def _losses(self, z: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the loss and the mean squared difference of pixels of each latent vector."""
        images = tf.cast(self._generator(*self._inputs_of(z, labels), training=False), tf.float32)
        pixels = tf.reduce_mean((images - self._target) ** 2, axis=(1, 2, 3))
        losses = pixels + self._prior_weight * tf.reduce_mean(z**2, axis=1)
        if self._classifier is not None and self._feature_weight:
            losses += self._feature_weight * self._squared_feature_distances(images)
        return losses, pixels

    def _squared_feature_distances(self, images: tf.Tensor) -> tf.Tensor:
        features = self._classifier(images)["pool_3"]  # type: ignore[misc]
        return tf.reduce_sum((features - self._features) ** 2, axis=1) / self._squared_norm

    def minimize(
        self, z: np.ndarray, labels: np.ndarray, steps: int, learning_rate: float, what: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns optimised latent vectors, and the loss of each; at most ``BATCH`` of them are in memory at once."""
        parts = [slice(first, first + BATCH) for first in range(0, len(z), BATCH)]
        results = []
        with tqdm(
            total=steps * len(parts),
            desc=what,
            unit="step",
            leave=False,
            mininterval=0.5 if sys.stderr.isatty() else 30.0,
        ) as progress:
            for part in parts:
                results.append(self._minimize_at_once(z[part], labels[part], steps, learning_rate, progress))
        return np.concatenate([z for z, _ in results]), np.concatenate([losses for _, losses in results])

    def _minimize_at_once(
        self, begun: np.ndarray, labels: np.ndarray, steps: int, learning_rate: float, progress: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        variable = tf.Variable(begun)
        label_tensor = tf.constant(labels, tf.int32)
        optimizer = keras.optimizers.Adam(learning_rate)
        optimizer.build([variable])

        @tf.function(autograph=False)
        def step() -> tf.Tensor:
            with tf.GradientTape() as tape:
                losses, pixels = self._losses(variable, label_tensor)
                # Starts are independent: the gradient of the sum is that of each.
                total = tf.reduce_sum(losses)
            gradient = tape.gradient(total, variable)
            optimizer.apply_gradients([(gradient, variable)])
            return tf.reduce_min(pixels)

        for index in range(steps):
            optimizer.learning_rate.assign(learning_rate * _ramp((index + 1) / steps))
            progress.set_postfix_str(f"PSNR {_psnr(float(step())):.1f} dB", refresh=False)
            progress.update()
        losses, _ = self._losses(tf.convert_to_tensor(variable), label_tensor)
        return variable.numpy(), losses.numpy()

    def result(self, z: np.ndarray, label: int, class_losses: dict[int, float]) -> Inversion:
        """Returns the result of a latent vector of shape ``(1, z_dim)``."""
        inputs = self._inputs_of(tf.constant(z), tf.constant([label]))
        images = to_uint8(self._generator(*inputs, training=False).numpy())
        target = to_uint8(self._target.numpy())
        distance = None
        if self._classifier is not None:
            # Of the picture that is written, with its rounded pixels.
            squared = self._squared_feature_distances(tf.constant(images / 127.5 - 1.0, tf.float32))
            distance = float(tf.sqrt(squared[0]))
        error = float(np.mean((images[0].astype(np.float64) - target) ** 2)) * (_PEAK / 255) ** 2
        weights = np.eye(self._num_classes, dtype=np.float32)[[label]]
        return Inversion(Latents(z, weights), label, target, images[0], _psnr(error), distance, class_losses)


def _ramp(progress: float) -> float:
    """Returns the factor of the learning rate at a share of the steps."""
    down = min(1.0, (1.0 - progress) / _COOLDOWN)
    return min(1.0, progress / _WARMUP) * (0.5 - 0.5 * math.cos(math.pi * down))


def _psnr(mean_squared_error: float) -> float:
    """Returns the peak signal-to-noise ratio of images in [-1, 1], in dB."""
    return 10.0 * math.log10(_PEAK**2 / mean_squared_error) if mean_squared_error > 0 else math.inf


def write_inversion(result: Inversion, folder: str) -> list[str]:
    """Writes the latent vector and a picture of an inversion.

    Args:
        result: result of :func:`invert`.
        folder: folder of the files, local or ``gs://``; created if it does not exist.

    Returns:
        Paths of ``latents.npz`` (see :func:`hamgan.sampling.latents.read_latents`) and ``inversion.png``, which shows
        the target, the reconstruction and their absolute difference.
    """
    latents_path, picture_path = (os.path.join(folder, name) for name in ("latents.npz", "inversion.png"))
    difference = abs(result.target.astype(np.int16) - result.reconstruction).astype(np.uint8)
    images = enlarged(np.stack([result.target, result.reconstruction, difference]), _SMALLEST_PICTURE)
    grid = image_grid(images, columns=3, column_names=["target", "reconstruction", "difference"])
    save_latents(latents_path, result.latents)
    write_atomically(picture_path, tf.io.encode_png(grid).numpy())
    return [latents_path, picture_path]
