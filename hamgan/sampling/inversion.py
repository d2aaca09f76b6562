"""Inversion: the latent vector and the class whose generated image is most similar to a given image."""

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from hamgan.data.image_file import read_image
from hamgan.errors import UserError
from hamgan.files import write_atomically
from hamgan.sampling.grids import enlarged, image_grid, to_uint8
from hamgan.sampling.latent_optimization import ImageClassifier, LatentOptimization, psnr
from hamgan.sampling.latents import Latents, save_latents

__all__ = ["Inversion", "invert"]

if TYPE_CHECKING:
    from hamgan.sampling.trained import Run

STARTS = 16
STEPS = 300
LEARNING_RATE = 0.1
FEATURE_WEIGHT = 0.1
PRIOR_WEIGHT = 1e-3
MOST_CLASSES = 20
"""Most classes that are tried without a choice by the classifier."""
_CLASSES_BY_LOGITS = 5
_STARTS_PER_CLASS = 4
_STEPS_PER_CLASS = 60
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
    optimization = LatentOptimization(run, target, classifier, feature_weight, prior_weight, seed)
    candidates = _candidates(run, classes, optimization.target_outputs)
    begun = optimization.random_latents(starts)
    class_losses: dict[int, float] = {}
    label = candidates[0]
    if len(candidates) > 1:
        few = min(starts, _STARTS_PER_CLASS)
        z = np.tile(optimization.random_latents(few), (len(candidates), 1))
        labels = np.repeat(candidates, few)
        z, losses = optimization.minimize(
            z, labels, min(steps, _STEPS_PER_CLASS), learning_rate, f"{len(candidates)} classes"
        )
        of_classes = losses.reshape(len(candidates), few).min(axis=1)
        class_losses = {candidate: float(loss) for candidate, loss in zip(candidates, of_classes, strict=True)}
        label = candidates[int(of_classes.argmin())]
        begun[:few] = z[labels == label]
    z, losses = optimization.minimize(begun, np.full(starts, label), steps, learning_rate, run.class_names[label])
    z = z[losses.argmin()][np.newaxis]
    images = optimization.images(z, [label])
    pixels = to_uint8(target)
    return Inversion(
        latents=Latents(z, np.eye(model.num_classes, dtype=np.float32)[[label]]),
        label=label,
        target=pixels,
        reconstruction=images[0],
        psnr=psnr(float(np.mean((images[0].astype(np.float64) - pixels) ** 2)), peak=255),
        # Of the picture that is written, with its rounded pixels.
        feature_distance=optimization.feature_distance(images),
        class_losses=class_losses,
    )


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
