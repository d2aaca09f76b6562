"""The classifier that images are scored by: a SavedModel with outputs ``logits`` and ``pool_3``."""

import contextlib
import hashlib
import os
import socket
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
import tensorflow_hub as hub

from hamgan import tfgan
from hamgan.errors import UserError, reason_of
from hamgan.literal_paths import literal_path

INCEPTION_SIZE = 299
"""Input height and width of TF-GAN's Inception, whose SavedModel leaves them open."""

OUTPUTS = ("logits", "pool_3")
RESIZE = "bilinear without antialiasing, float32 in [-1, 1], not quantised"
CONNECTION_SECONDS = 30.0
_HASHED_AT_ONCE = 1 << 20


class Classifier:
    """A classifier from TensorFlow Hub: a handle, or the path of a SavedModel.

    It takes float32 images in [-1, 1] and returns a dictionary with ``logits`` and ``pool_3``. Images are resized to
    the height and width of its serving signature, or to Inception's 299x299 if that leaves them open: bilinear, without
    antialiasing, never quantised.

    Args:
        handle: of the classifier.
        strategy: on whose replicas it will run.

    Raises:
        UserError: it cannot be loaded.
    """

    def __init__(self, handle: str, strategy: tf.distribute.Strategy | None = None) -> None:
        self.handle = handle
        try:
            with _connecting_for(CONNECTION_SECONDS):
                path = hub.resolve(handle)
            with literal_path(path) as literal, (strategy or tf.distribute.get_strategy()).scope():
                self._model = hub.load(literal)
        except Exception as error:  # TF-Hub lets through whatever its resolvers and the network raise.
            raise UserError(
                f"classifier {handle} cannot be loaded ({reason_of(error)}); pass --classifier with the path of a "
                "SavedModel, or fetch it once on a machine with network: see docs/evaluation.md"
            ) from error
        if not callable(self._model):
            raise UserError(f"classifier {handle} is a SavedModel that cannot be called; export it with __call__")
        self.sha256 = saved_model_sha256(path)
        self.image_size = _signature_size(self._model) or INCEPTION_SIZE

    def __call__(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Resizes and classifies images, ``(n, height, width, 3)``; for use within a compiled function.

        Returns:
            ``logits``, ``(n, classes)``, and ``pool_3``, ``(n, width)``.

        Raises:
            UserError: the model does not return them.
        """
        size = (self.image_size, self.image_size)
        if images.shape[1:3] != size:
            images = tf.image.resize(images, size, method="bilinear", antialias=False)
        outputs = tfgan.run_classifier_fn(images, self._model, dtypes=None)
        missing = [name for name in OUTPUTS if not isinstance(outputs, dict) or name not in outputs]
        if missing:
            raise UserError(f"classifier {self.handle} must return {' and '.join(OUTPUTS)}; lacks {', '.join(missing)}")
        return {name: tf.reshape(outputs[name], (tf.shape(images)[0], -1)) for name in OUTPUTS}

    def card(self) -> dict[str, Any]:
        """Returns what a protocol card says of it."""
        return {"handle": self.handle, "sha256": self.sha256, "image_size": self.image_size, "resize": RESIZE}


@contextlib.contextmanager
def _connecting_for(seconds: float) -> Iterator[None]:
    """Within it, a connection that hangs is given up."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def saved_model_sha256(path: str) -> str:
    """Returns the SHA-256 of a SavedModel: of the names, sizes and contents of its files, in the order of the names.

    Args:
        path: of its folder.
    """
    files = {
        os.path.relpath(os.path.join(folder, name), path).replace(os.sep, "/"): os.path.join(folder, name)
        for folder, _, names in tf.io.gfile.walk(path)
        for name in names
    }
    digest = hashlib.sha256()
    for name, file_path in sorted(files.items()):
        digest.update(f"{name}\0{tf.io.gfile.stat(file_path).length}\0".encode())
        with tf.io.gfile.GFile(file_path, "rb") as file:
            while block := file.read(_HASHED_AT_ONCE):
                digest.update(block)
    return digest.hexdigest()


def _signature_size(model: object) -> int | None:
    """Height of the images that the model's serving signature takes, if it says."""
    signature = getattr(model, "signatures", {}).get("serving_default")
    if signature is None:
        return None
    shapes = [spec.shape for spec in signature.structured_input_signature[1].values()]
    return next((shape[1] for shape in shapes if shape.rank == 4), None)
