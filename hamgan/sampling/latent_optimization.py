"""Optimisation of latent vectors, so that their generated images resemble a given image."""

import contextlib
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from hamgan import random_streams
from hamgan.errors import UserError
from hamgan.networks.inputs import GeneratorInputs
from hamgan.random_streams import Purpose
from hamgan.sampling.grids import to_uint8

if TYPE_CHECKING:
    from hamgan.sampling.trained import Run

ImageClassifier = Callable[[tf.Tensor], Mapping[str, tf.Tensor]]
"""Maps float32 images in [-1, 1] to ``logits`` and ``pool_3``: a :class:`hamgan.evaluation.classifier.Classifier`."""

BATCH = 40
"""Most images per call of the generator."""
_WARMUP = 0.05
_COOLDOWN = 0.25


class LatentOptimization:
    """The loss of one image, and its minimisation over latent vectors; see :func:`hamgan.sampling.inversion.invert`.

    Args:
        run: run with a trained generator.
        target: the image, float32 in [-1, 1], shape ``(resolution, resolution, channels)``.
        classifier: function of images that returns logits and features; None for the difference of pixels only.
        feature_weight: weight of the features.
        prior_weight: weight of the prior.
        seed: seed of the starts and the initial bases.

    Attributes:
        target_outputs: outputs of the classifier for the target, or None without a classifier.

    Raises:
        UserError: if the features have no gradient.
    """

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

    def images(self, z: np.ndarray, labels: Sequence[int]) -> np.ndarray:
        """Generates the images of latent vectors, uint8."""
        inputs = self._inputs_of(tf.constant(z), tf.constant(labels))
        return to_uint8(self._generator(*inputs, training=False).numpy())

    def feature_distance(self, images: np.ndarray) -> float | None:
        """Returns the distance of the features of a uint8 image, shape ``(1, ...)``, or None without a classifier."""
        if self._classifier is None:
            return None
        squared = self._squared_feature_distances(tf.constant(images / 127.5 - 1.0, tf.float32))
        return float(tf.sqrt(squared[0]))

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
            progress.set_postfix_str(f"PSNR {psnr(float(step()), peak=2):.1f} dB", refresh=False)
            progress.update()
        losses, _ = self._losses(tf.convert_to_tensor(variable), label_tensor)
        return variable.numpy(), losses.numpy()


def _ramp(progress: float) -> float:
    """Returns the factor of the learning rate at a share of the steps."""
    down = min(1.0, (1.0 - progress) / _COOLDOWN)
    return min(1.0, progress / _WARMUP) * (0.5 - 0.5 * math.cos(math.pi * down))


def psnr(mean_squared_error: float, *, peak: float) -> float:
    """Returns the peak signal-to-noise ratio of images, in dB; ``peak`` is the difference between white and black."""
    return 10.0 * math.log10(peak**2 / mean_squared_error) if mean_squared_error > 0 else math.inf
