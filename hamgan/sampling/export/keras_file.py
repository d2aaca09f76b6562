"""Export to a Keras file, which keeps the layers and can be trained further."""

import keras
import tensorflow as tf

from hamgan.layers.fixed_bases import decompositions
from hamgan.networks import Generator
from hamgan.sampling.export.model_format import (
    GenerateFunction,
    ModelFormat,
    draw_inputs_code,
    generate_signature,
    images_comment,
)


class KerasFormat(ModelFormat):
    """File of ``keras.Model.save``, for Python programs that import ``hamgan.networks``."""

    title = "Keras"
    file_name = "generator.keras"

    def write(self, generator: Generator, path: str) -> None:
        """Saves the generator; see :meth:`ModelFormat.write`."""
        generator.save(path)

    def load(self, path: str, generator: Generator) -> GenerateFunction:
        """Loads the model; see :meth:`ModelFormat.load`."""
        model = keras.saving.load_model(path)
        for own, copy in zip(decompositions(generator), decompositions(model), strict=True):
            copy.seed_generator.state.assign(own.seed_generator.state)
        call = tf.function(
            lambda z, labels: model(z, labels, training=False), input_signature=generate_signature(generator)
        )
        return lambda z, labels: call(z, labels).numpy()

    def usage(self, generator: Generator) -> str:
        """Returns code that loads the model."""
        return (
            "import hamgan.networks  # registers the classes of the layers\n"
            "import keras\n"
            "import numpy as np\n\n"
            f'generator = keras.saving.load_model("{self.file_name}")\n'
            f"{draw_inputs_code(generator)}"
            f"images = generator(z, labels)  {images_comment(generator)}\n"
        )
