"""The classifier behind the scores: a SavedModel with outputs ``logits`` and ``pool_3``."""

import contextlib
import hashlib
import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_hub as hub

from hamgan import tfgan
from hamgan.data.preprocessing import with_channels
from hamgan.errors import UserError, reason_of
from hamgan.files import literal_path

__all__ = ["Classifier"]

_logger = logging.getLogger(__name__)

INCEPTION_SIZE = 299
"""Input height and width of TF-GAN's Inception, whose SavedModel leaves them open."""

NO_CLASSIFIER = "none"
OUTPUTS = ("logits", "pool_3")
SERVING_SIGNATURE = "serving_default"
RESIZE = "bilinear without antialiasing, float32 in [-1, 1], not quantised"
CONNECTION_SECONDS = 30.0
_HASHED_AT_ONCE = 1 << 20


class Classifier:
    """A classifier: a TensorFlow Hub handle, or the path of a SavedModel.

    The model maps float32 images in [-1, 1] to a dictionary with ``logits`` and ``pool_3``, as ``__call__``, as
    ``serve`` (from ``model.export`` of Keras 3) or as a signature, in this order of preference. Images are resized to
    the height and width that the model expects, or to 299x299 as for Inception if it accepts any size. The resizing is
    bilinear, without antialiasing, and the result is not quantised.

    Args:
        handle: TF-Hub handle, or path of a SavedModel.
        strategy: strategy whose replicas run the classifier.

    Raises:
        UserError: the classifier cannot be loaded, or has unsuitable inputs or outputs.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.evaluation.classifier import Classifier
        >>> Classifier("classifier")(tf.zeros((2, 32, 32, 3)))["logits"].shape
        TensorShape([2, 10])
    """

    def __init__(self, handle: str, strategy: tf.distribute.Strategy | None = None) -> None:
        self.handle = handle
        try:
            with _connecting_for(CONNECTION_SECONDS):
                path = hub.resolve(handle)
            with literal_path(path) as literal, (strategy or tf.distribute.get_strategy()).scope():
                self._model = hub.load(literal)
            self.sha256 = saved_model_sha256(path)
        except Exception as error:  # TF-Hub lets through whatever its resolvers and the network raise.
            raise UserError(
                f"classifier {handle} cannot be loaded ({reason_of(error)}); pass --classifier with the path of a "
                "SavedModel, or fetch it once on a machine with network: see docs/evaluation.md"
            ) from error
        self._function, self.image_size = self._find_function()

    def _find_function(self) -> tuple[Callable[[tf.Tensor], Any], int]:
        """Returns the first suitable function of a model, and the height and width of its images."""
        functions = list(_functions(self._model))
        fitting = [function for function in functions if function.fits]
        if not fitting:
            # The signature for serving is what the model's owner knows of it.
            found = str(functions[-1]) if functions else "has no function to call"
            raise UserError(
                f"classifier {self.handle} {found}; expected one that takes float32 images in [-1, 1] of shape (None, "
                f"size, size, 3), where size may be None, and returns a dictionary with {' and '.join(OUTPUTS)}"
            )
        sizes = [function.image_size for function in (fitting[0], *reversed(functions))]
        return fitting[0].call, next((size for size in sizes if size is not None), INCEPTION_SIZE)

    def __call__(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Resizes and classifies images in [-1, 1]; for use inside compiled functions.

        Args:
            images: float32 images, shape ``(n, height, width, 3)``, or ``(n, height, width, 1)`` for gray images.

        Returns:
            ``logits``, ``(n, classes)``, and ``pool_3``, ``(n, width)``.
        """
        images = with_channels(images, 3)
        size = (self.image_size, self.image_size)
        if images.shape[1:3] != size:
            images = tf.image.resize(images, size, method="bilinear", antialias=False)
        outputs = tfgan.run_classifier_fn(images, self._function, dtypes=None)
        return {name: tf.reshape(outputs[name], (tf.shape(images)[0], -1)) for name in OUTPUTS}

    def card(self) -> dict[str, Any]:
        """Returns the entries of a protocol card that describe the classifier."""
        return {"handle": self.handle, "sha256": self.sha256, "image_size": self.image_size, "resize": RESIZE}


def classifier_or_none(handle: str | None, recorded: str) -> Classifier | None:
    """Loads a classifier for work that is also possible without one, only less good.

    Args:
        handle: TF-Hub handle or SavedModel, "none" for no classifier, or None for the recorded one.
        recorded: handle in the config of the run. If it cannot be loaded, a warning says so.

    Raises:
        UserError: if ``handle`` names a classifier that cannot be loaded.
    """
    if handle is not None:
        return None if handle == NO_CLASSIFIER else Classifier(handle)
    try:
        return Classifier(recorded)
    except UserError as error:
        _logger.warning("Without a classifier, pixels only: %s", error)
        return None


@contextlib.contextmanager
def _connecting_for(seconds: float) -> Iterator[None]:
    """Limits how long a connection may hang inside the context."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def saved_model_sha256(path: str) -> str:
    """Returns the SHA-256 of a SavedModel: of the names, sizes and contents of its files, in the order of the names.

    Equal digests mean equal classifiers. The converse does not hold: TensorFlow writes different bytes each time the
    same weights are exported, so a second export counts as another classifier. A digest of the weights and the graph
    alone would have to know which parts of a graph do not affect the numbers.

    Args:
        path: path of the SavedModel's folder.
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


class _Function(NamedTuple):
    """A function of a SavedModel, with its inputs and outputs as far as the SavedModel declares them."""

    call: Callable[[tf.Tensor], Any]
    inputs: Sequence[tf.TensorSpec]
    outputs: Any

    @property
    def fits(self) -> bool:
        """Whether the inputs and outputs are those of a classifier."""
        if len(self.inputs) != 1 or not isinstance(self.outputs, Mapping) or not set(OUTPUTS) <= self.outputs.keys():
            return False
        images = self.inputs[0]
        if images.dtype != tf.float32 or images.shape.rank is None:
            return images.dtype == tf.float32
        if images.shape.rank != 4:
            return False
        batch, height, width, channels = images.shape
        is_square = height is None or width is None or height == width
        return batch is None and is_square and channels in (None, 3)

    @property
    def image_size(self) -> int | None:
        """Height and width of the images, if the function declares them."""
        shapes = [spec.shape for spec in self.inputs if spec.shape.rank == 4]
        return next((size for shape in shapes for size in shape[1:3] if size is not None), None)

    def __str__(self) -> str:
        """Describes inputs and outputs."""
        inputs = [f"{spec.dtype.name} of shape {_shape(spec)}" for spec in self.inputs]
        if isinstance(self.outputs, Mapping):
            outputs = [f"{name} {_shape(spec)}" for name, spec in sorted(self.outputs.items())]
        else:
            outputs = [f"an output without name {_shape(spec)}" for spec in tf.nest.flatten(self.outputs)]
        return f"takes {' and '.join(inputs) or 'nothing'} and returns {', '.join(outputs) or 'nothing'}"


def _shape(spec: Any) -> str:
    shape = getattr(spec, "shape", None)
    return "unknown" if shape is None or shape.rank is None else str(tuple(shape))


def _functions(model: Any) -> Iterator[_Function]:
    """Returns the functions of a model in order of preference; "serving_default" comes last."""
    restored = [model.__call__] if callable(model) else []
    for function in (*restored, getattr(model, "serve", None)):
        for concrete in getattr(function, "concrete_functions", ()):
            arguments, _ = concrete.structured_input_signature
            # Of inputs in a dictionary, the signature's have names.
            if arguments and isinstance(arguments[0], tf.TensorSpec):
                specs = _tensor_specs(concrete.structured_input_signature)
                yield _Function(function, specs, concrete.structured_outputs)
    signatures = getattr(model, "signatures", {})
    for name in sorted(signatures, key=lambda name: name == SERVING_SIGNATURE):
        signature = signatures[name]
        specs = signature.structured_input_signature[1]

        def call(images: tf.Tensor, signature: Any = signature, argument: str = next(iter(specs), "")) -> Any:
            return signature(**{argument: images})

        yield _Function(call, _tensor_specs(specs), signature.structured_outputs)


def _tensor_specs(structure: Any) -> list[tf.TensorSpec]:
    return [spec for spec in tf.nest.flatten(structure) if isinstance(spec, tf.TensorSpec)]
