"""Export to TensorFlow Lite (LiteRT), for phones and small devices."""

import os
import tempfile
import warnings
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from hamgan.files import write_atomically
from hamgan.networks import Generator
from hamgan.sampling.export.model_format import GenerateFunction, ModelFormat, draw_inputs_code, images_comment
from hamgan.sampling.export.saved_model import archive_with_generate


def convert_to_tflite(saved_model: str, signature: str) -> bytes:
    """Returns a TensorFlow Lite model with built-in operations only.

    Args:
        saved_model: path of a SavedModel.
        signature: its signature to convert.
    """
    converter = tf.lite.TFLiteConverter.from_saved_model(saved_model, signature_keys=[signature])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    return converter.convert()


def load_tflite(path: str) -> Callable[..., dict[str, np.ndarray]]:
    """Returns the only signature of a TensorFlow Lite file, a function of named arrays."""
    with warnings.catch_warnings():
        # TensorFlow 2.21 still has the interpreter that it announces to delete.
        warnings.filterwarnings("ignore", message=r"\s*Warning: tf.lite.Interpreter is deprecated")
        interpreter = tf.lite.Interpreter(path, num_threads=os.cpu_count())
    return interpreter.get_signature_runner()


class TFLiteFormat(ModelFormat):
    """TensorFlow Lite file with one signature and built-in operations only."""

    title = "TFLite"
    file_name = "generator.tflite"
    takes_random_bases = False

    def write(self, generator: Generator, path: str) -> None:
        """Converts the generator; see :meth:`ModelFormat.write`."""
        with tempfile.TemporaryDirectory(prefix="hamgan-") as folder:
            archive_with_generate(generator).write_out(folder, verbose=False)
            write_atomically(path, convert_to_tflite(folder, "generate"))

    def load(self, path: str, generator: Generator) -> GenerateFunction:
        """Loads the signature; see :meth:`ModelFormat.load`."""
        generate = load_tflite(path)
        return lambda z, labels: generate(z=z, labels=labels)["images"]

    def usage(self, generator: Generator) -> str:
        """Returns code for the interpreter."""
        return (
            "import numpy as np\n"
            "import tensorflow as tf\n\n"
            f'interpreter = tf.lite.Interpreter("{self.file_name}")'
            "  # or ai_edge_litert.interpreter.Interpreter, without TensorFlow\n"
            "generate = interpreter.get_signature_runner()\n"
            f"{draw_inputs_code(generator)}"
            f'images = generate(z=z, labels=labels)["images"]  {images_comment(generator)}\n'
        )
