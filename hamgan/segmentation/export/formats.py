"""The formats of exported segmentation networks."""

import tempfile

import keras
import numpy as np
import tensorflow as tf

from hamgan.counted import counted
from hamgan.errors import FailedError
from hamgan.files import literal_path, write_atomically
from hamgan.sampling.export.onnx_file import export_to_onnx, onnx_session
from hamgan.sampling.export.tflite import convert_to_tflite, load_tflite
from hamgan.segmentation.data.augmentation import normalise
from hamgan.segmentation.export.network_format import (
    NORMALISE,
    ExportedNetwork,
    LogitsFunction,
    NetworkFormat,
    as_array,
    resized_picture,
)
from hamgan.segmentation.prediction.inference import padding_of
from hamgan.segmentation.prediction.multi_scale import single_scale_logits


class SavedModelFormat(NetworkFormat):
    """SavedModel with two functions for images of any size, which are also its signatures.

    ``predict(images)`` maps uint8 images to a dict with uint8 "masks". ``compute_logits(images)`` maps normalised
    images to a dict with "logits".
    """

    title = "SavedModel"
    file_name = "saved_model"

    def write(self, network: ExportedNetwork, path: str) -> None:
        """Writes the SavedModel; see :meth:`NetworkFormat.write`."""
        model = network.model
        stride, remainder = padding_of(model)

        def logits_of(images: tf.Tensor) -> tf.Tensor:
            return model(images, training=False)

        def predict(images: tf.Tensor) -> dict[str, tf.Tensor]:
            logits = single_scale_logits(logits_of, normalise(images), stride=stride, remainder=remainder)
            return {"masks": tf.cast(tf.argmax(logits, axis=-1), tf.uint8)}

        archive = keras.export.ExportArchive()
        archive.track(model)
        shape = (None, None, None, model.channels)
        archive.add_endpoint("predict", predict, input_signature=[tf.TensorSpec(shape, tf.uint8, "images")])
        archive.add_endpoint(
            "compute_logits",
            lambda images: {"logits": logits_of(images)},
            input_signature=[tf.TensorSpec(shape, tf.float32, "images")],
        )
        archive.write_out(path, verbose=False)

    def load(self, path: str) -> LogitsFunction:
        """Loads the function of logits; see :meth:`NetworkFormat.load`."""
        model = _load(path)
        return lambda images: as_array(model.compute_logits(images=images)["logits"])

    def verify_more(self, path: str, network: ExportedNetwork, images: np.ndarray, tolerance: float) -> None:
        """Compares ``predict`` with the argmax of the network's logits, wherever that is clear."""
        model = _load(path)
        masks = model.predict(images=images)["masks"].numpy()
        stride, remainder = padding_of(network.model)
        logits = single_scale_logits(network.model, normalise(images), stride=stride, remainder=remainder).numpy()
        ordered = np.sort(logits, axis=-1)
        margin = ordered[..., -1] - ordered[..., -2] if logits.shape[-1] > 1 else np.inf
        is_clear = margin > 2 * tolerance * max(1.0, float(np.abs(logits).max()))
        wrong = int(((masks != logits.argmax(axis=-1)) & is_clear).sum())
        if masks.dtype != np.uint8 or wrong:
            raise FailedError(
                f"masks of the SavedModel's predict differ from those of the network at {counted(wrong, 'pixel')}, "
                "expected none; nothing was written"
            )

    def usage(self, network: ExportedNetwork) -> str:
        """Returns code for ``predict``."""
        return (
            "import numpy as np\n"
            "import tensorflow as tf\n"
            "from PIL import Image\n\n"
            f'model = tf.saved_model.load("{self.file_name}")\n'
            'picture = Image.open("picture.jpg").convert("RGB")  # any size\n'
            'masks = model.predict(images=np.asarray(picture)[np.newaxis])["masks"]  # uint8\n'
        )


def _load(path: str) -> tf.Module:
    with literal_path(path) as literal:
        return tf.saved_model.load(literal)


class KerasFormat(NetworkFormat):
    """File of ``keras.Model.save``, for Python programs that import ``hamgan.segmentation``."""

    title = "Keras"
    file_name = "network.keras"

    def write(self, network: ExportedNetwork, path: str) -> None:
        """Saves the network; see :meth:`NetworkFormat.write`."""
        network.model.save(path)

    def load(self, path: str) -> LogitsFunction:
        """Loads the model; see :meth:`NetworkFormat.load`."""
        model = keras.saving.load_model(path)
        call = tf.function(lambda images: model(images, training=False), autograph=False)
        return lambda images: as_array(call(tf.constant(images)))

    def usage(self, network: ExportedNetwork) -> str:
        """Returns code that loads the model."""
        return (
            "import keras\n"
            "import numpy as np\n"
            "from PIL import Image\n\n"
            f"from hamgan.segmentation import {type(network.model).__name__}  # registers the classes of the layers\n\n"
            f'network = keras.saving.load_model("{self.file_name}")\n'
            'picture = Image.open("picture.jpg").convert("RGB")  # any size\n'
            f"{NORMALISE}"
            "masks = np.argmax(network(images), axis=-1)\n"
        )


class TFLiteFormat(NetworkFormat):
    """TensorFlow Lite file for one normalised image of a fixed size, with built-in operations only."""

    title = "TFLite"
    file_name = "network.tflite"

    def write(self, network: ExportedNetwork, path: str) -> None:
        """Converts the network; see :meth:`NetworkFormat.write`."""
        model = network.model

        def compute_logits(images: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"logits": model(images, training=False)}

        with tempfile.TemporaryDirectory(prefix="hamgan-") as folder:
            archive = keras.export.ExportArchive()
            archive.track(model)
            archive.add_endpoint("compute_logits", compute_logits, input_signature=[network.size_signature])
            archive.write_out(folder, verbose=False)
            write_atomically(path, convert_to_tflite(folder, "compute_logits"))

    def load(self, path: str) -> LogitsFunction:
        """Loads the signature; see :meth:`NetworkFormat.load`."""
        compute_logits = load_tflite(path)
        return lambda images: compute_logits(images=images)["logits"]

    def usage(self, network: ExportedNetwork) -> str:
        """Returns code for the interpreter."""
        return (
            "import numpy as np\n"
            "import tensorflow as tf\n"
            "from PIL import Image\n\n"
            f'interpreter = tf.lite.Interpreter("{self.file_name}")'
            "  # or ai_edge_litert.interpreter.Interpreter, without TensorFlow\n"
            "compute_logits = interpreter.get_signature_runner()\n"
            f"{resized_picture(network)}{NORMALISE}"
            'masks = np.argmax(compute_logits(images=images)["logits"], axis=-1)\n'
        )


class ONNXFormat(NetworkFormat):
    """ONNX file for one normalised image of a fixed size."""

    title = "ONNX"
    file_name = "network.onnx"
    packages = ("onnx", "tf2onnx", "onnxruntime")
    extra = "onnx"

    def write(self, network: ExportedNetwork, path: str) -> None:
        """Converts the network; see :meth:`NetworkFormat.write`."""
        export_to_onnx(network.model, path, [network.size_signature])

    def load(self, path: str) -> LogitsFunction:
        """Loads the model in ONNX Runtime; see :meth:`NetworkFormat.load`."""
        session = onnx_session(path)
        (images_input,) = session.get_inputs()
        return lambda images: session.run(None, {images_input.name: images})[0]

    def usage(self, network: ExportedNetwork) -> str:
        """Returns code for ONNX Runtime."""
        return (
            "import numpy as np\n"
            "import onnxruntime\n"
            "from PIL import Image\n\n"
            f'session = onnxruntime.InferenceSession("{self.file_name}")\n'
            f"{resized_picture(network)}{NORMALISE}"
            "(logits,) = session.run(None, {session.get_inputs()[0].name: images})\n"
            "masks = np.argmax(logits, axis=-1)\n"
        )


FORMATS: dict[str, NetworkFormat] = {
    "savedmodel": SavedModelFormat(),
    "keras": KerasFormat(),
    "tflite": TFLiteFormat(),
    "onnx": ONNXFormat(),
}
"""The formats by name."""
