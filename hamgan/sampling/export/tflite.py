"""Export to TensorFlow Lite (LiteRT), for phones and small devices."""

import os
import tempfile
import warnings

import tensorflow as tf

from hamgan.files import write_atomically
from hamgan.networks import Generator
from hamgan.sampling.export.model_format import GenerateFunction, ModelFormat, draw_inputs_code, images_comment
from hamgan.sampling.export.saved_model import archive_with_generate


class TFLiteFormat(ModelFormat):
    """TensorFlow Lite file with one signature and built-in operations only."""

    title = "TFLite"
    file_name = "generator.tflite"
    takes_random_bases = False

    def write(self, generator: Generator, path: str) -> None:
        """Converts the generator; see :meth:`ModelFormat.write`."""
        with tempfile.TemporaryDirectory(prefix="hamgan-") as folder:
            archive_with_generate(generator).write_out(folder, verbose=False)
            converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["generate"])
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
            write_atomically(path, converter.convert())

    def load(self, path: str, generator: Generator) -> GenerateFunction:
        """Loads the signature; see :meth:`ModelFormat.load`."""
        with warnings.catch_warnings():
            # TensorFlow 2.21 still has the interpreter that it announces to delete.
            warnings.filterwarnings("ignore", message=r"\s*Warning: tf.lite.Interpreter is deprecated")
            interpreter = tf.lite.Interpreter(path, num_threads=os.cpu_count())
        generate = interpreter.get_signature_runner()
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
