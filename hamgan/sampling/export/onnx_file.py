"""Export to ONNX."""

import warnings
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from hamgan.networks import Generator
from hamgan.sampling.export.model_format import GenerateFunction, ModelFormat, draw_inputs_code, images_comment


def export_to_onnx(model: keras.Model, path: str, input_signature: Sequence[tf.TensorSpec] | None = None) -> None:
    """Writes a Keras model as an ONNX file.

    Args:
        model: model.
        path: local path of the file.
        input_signature: shapes, dtypes and names of the inputs; by default, those of the model.
    """
    with warnings.catch_warnings():
        # Keras 3.15 makes tf2onnx work with NumPy 2, which warns about a name that it looks up for this.
        warnings.filterwarnings("ignore", category=FutureWarning)
        arguments = {} if input_signature is None else {"input_signature": input_signature}
        model.export(path, format="onnx", verbose=False, **arguments)


def onnx_session(path: str) -> Any:
    """Returns an ``onnxruntime.InferenceSession`` of an ONNX file on the CPU."""
    import onnxruntime

    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


class ONNXFormat(ModelFormat):
    """ONNX file with the inputs ``z`` and ``labels``."""

    title = "ONNX"
    file_name = "generator.onnx"
    packages = ("onnx", "tf2onnx", "onnxruntime")
    extra = "onnx"
    takes_random_bases = False

    def write(self, generator: Generator, path: str) -> None:
        """Converts the generator; see :meth:`ModelFormat.write`."""
        export_to_onnx(generator, path)

    def load(self, path: str, generator: Generator) -> GenerateFunction:
        """Loads the model in ONNX Runtime; see :meth:`ModelFormat.load`."""
        session = onnx_session(path)
        return lambda z, labels: session.run(None, {"z": z, "labels": labels})[0]

    def usage(self, generator: Generator) -> str:
        """Returns code for ONNX Runtime."""
        return (
            "import numpy as np\n"
            "import onnxruntime\n\n"
            f'session = onnxruntime.InferenceSession("{self.file_name}")\n'
            f"{draw_inputs_code(generator)}"
            f'(images,) = session.run(None, {{"z": z, "labels": labels}})  {images_comment(generator)}\n'
        )
