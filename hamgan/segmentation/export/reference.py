"""What the Keras model computes, and how much an exported network may differ from it."""

import numpy as np
import tensorflow as tf

from hamgan.errors import FailedError
from hamgan.sampling.export.verification import TOLERANCE
from hamgan.segmentation.data.augmentation import normalise
from hamgan.segmentation.export.network_format import ExportedNetwork, LogitsFunction

_ROUNDINGS = 10
"""Rounding in all layers may change logits this many times as much as rounding of the input."""
_LARGEST_TOLERANCE = 1e-2
"""A larger difference could be a mistake, whatever the rounding."""


class Reference:
    """The logits of the Keras model for two pictures, noise and smooth noise.

    Attributes:
        pictures: uint8 images, shape ``(2, height, width, channels)``.
        images: the same images, normalised.
        tolerance: largest difference of logits, relative to the largest logit if that is above 1: 1e-4, or up to 1e-2
            for a network that amplifies rounding, as deep networks do.

    Args:
        network: network to export.
    """

    def __init__(self, network: ExportedNetwork) -> None:
        self.pictures = _pictures(network)
        self.images = normalise(self.pictures).numpy()
        self._logits = [_logits(network, image) for image in self.images]
        signs = np.random.default_rng(0).choice(np.array([-1, 1], np.float32), self.images.shape)
        rounded = self.images * (1 + signs * np.finfo(np.float32).eps)
        change = self.difference(lambda image: _logits(network, image[0]), rounded)
        self.tolerance = min(max(TOLERANCE, _ROUNDINGS * change), _LARGEST_TOLERANCE)

    def difference(self, compute_logits: LogitsFunction, images: np.ndarray | None = None) -> float:
        """Returns the largest difference of logits, relative to the largest logit if that is above 1.

        Args:
            compute_logits: function of one image.
            images: images to compute logits of, by default :attr:`images`.

        Raises:
            FailedError: if the shape of the logits differs.
        """
        differences = []
        for image, expected in zip(self.images if images is None else images, self._logits, strict=True):
            logits = compute_logits(image[np.newaxis])
            if logits.shape != expected.shape:
                raise FailedError(
                    f"expected logits of shape {expected.shape}, found {logits.shape}; nothing was written"
                )
            differences.append(np.abs(logits - expected).max() / max(1.0, float(np.abs(expected).max())))
        # Not max(), which ignores NaN.
        return float(np.max(differences))


def _logits(network: ExportedNetwork, image: np.ndarray) -> np.ndarray:
    return network.model(image[np.newaxis], training=False).numpy()


def _pictures(network: ExportedNetwork) -> np.ndarray:
    rng = np.random.default_rng(0)
    shape = (network.height, network.width, network.model.channels)
    noise = rng.integers(0, 256, shape, dtype=np.uint8)
    coarse = rng.integers(0, 256, (1, 5, 5, shape[2])).astype(np.float32)
    smooth = tf.image.resize(coarse, shape[:2], "bicubic")[0].numpy()
    return np.stack([noise, np.clip(smooth, 0, 255).astype(np.uint8)])
