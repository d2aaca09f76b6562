"""The classifier that samples are scored by: a SavedModel with outputs ``logits`` and ``pool_3``."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_hub as hub

from hamgan import tfgan
from hamgan.errors import UserError, reason_of
from hamgan.replicas import on_all_replicas

INCEPTION_SIZE = 299
"""Input height and width of TF-GAN's Inception, whose SavedModel leaves them open."""

OUTPUTS = ("logits", "pool_3")


class Features(NamedTuple):
    """What a classifier says of n images: ``logits`` (n, classes), ``pool_3`` (n, width) and ``labels`` (n,)."""

    logits: np.ndarray
    pool_3: np.ndarray
    labels: np.ndarray


class Classifier:
    """A classifier from TensorFlow Hub: a handle, or the path of a SavedModel.

    It takes float32 images in [-1, 1] and returns a dictionary with ``logits`` and ``pool_3``. Images are resized to
    the height and width of its serving signature, or to Inception's 299x299 if that leaves them open: bilinear, without
    antialiasing, never quantised.

    Args:
        handle: of the classifier.
        strategy: whose replicas share the work, of one process.

    Raises:
        UserError: it cannot be loaded, or lacks an output.
    """

    def __init__(self, handle: str, strategy: tf.distribute.Strategy | None = None) -> None:
        self.handle = handle
        strategy = strategy or tf.distribute.get_strategy()
        try:
            with strategy.scope():
                self._model = hub.load(handle)
        except Exception as error:  # TF-Hub lets through whatever its resolvers and the network raise.
            raise UserError(
                f"classifier {handle} cannot be loaded ({reason_of(error)}); pass --classifier with the path of a "
                "SavedModel, or a TF-Hub handle that this machine can reach"
            ) from error
        if not callable(self._model):
            raise UserError(f"classifier {handle} is a SavedModel that cannot be called; export it with __call__")
        self.image_size = _signature_size(self._model) or INCEPTION_SIZE
        self._run = on_all_replicas(strategy, self._resize_and_classify)

    def _resize_and_classify(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        size = (self.image_size, self.image_size)
        if images.shape[1:3] != size:
            images = tf.image.resize(images, size, method="bilinear", antialias=False)
        outputs = tfgan.run_classifier_fn(images, self._model, dtypes=None)
        missing = [name for name in OUTPUTS if not isinstance(outputs, dict) or name not in outputs]
        if missing:
            raise UserError(f"classifier {self.handle} must return {' and '.join(OUTPUTS)}; lacks {', '.join(missing)}")
        return {name: tf.reshape(outputs[name], (tf.shape(images)[0], -1)) for name in OUTPUTS}

    def features(self, batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> Features:
        """Classifies batches of (images, labels), images float32 in [-1, 1]."""
        logits, pool_3, labels = [], [], []
        for images, batch_labels in batches:
            outputs = self._run(images)
            logits.append(outputs["logits"])
            pool_3.append(outputs["pool_3"])
            labels.append(np.asarray(batch_labels))
        return Features(np.concatenate(logits), np.concatenate(pool_3), np.concatenate(labels))


def _signature_size(model: object) -> int | None:
    """Height of the images that the model's serving signature takes, if it says."""
    signature = getattr(model, "signatures", {}).get("serving_default")
    if signature is None:
        return None
    shapes = [spec.shape for spec in signature.structured_input_signature[1].values()]
    return next((shape[1] for shape in shapes if shape.rank == 4), None)
