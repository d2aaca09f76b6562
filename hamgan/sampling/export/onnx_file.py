"""Export to ONNX."""

import warnings

from hamgan.networks import Generator
from hamgan.sampling.export.model_format import GenerateFunction, ModelFormat, draw_inputs_code, images_comment


class ONNXFormat(ModelFormat):
    """ONNX file with the inputs ``z`` and ``labels``."""

    title = "ONNX"
    file_name = "generator.onnx"
    packages = ("onnx", "tf2onnx", "onnxruntime")
    extra = "onnx"
    takes_random_bases = False

    def write(self, generator: Generator, path: str) -> None:
        """Converts the generator; see :meth:`ModelFormat.write`."""
        with warnings.catch_warnings():
            # Keras 3.15 makes tf2onnx work with NumPy 2, which warns about a name that it looks up for this.
            warnings.filterwarnings("ignore", category=FutureWarning)
            generator.export(path, format="onnx", verbose=False)

    def load(self, path: str, generator: Generator) -> GenerateFunction:
        """Loads the model in ONNX Runtime; see :meth:`ModelFormat.load`."""
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
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
