"""Export to a TensorFlow SavedModel that needs no other package."""

import keras
import numpy as np
import tensorflow as tf

from hamgan import random_streams
from hamgan.errors import FailedError
from hamgan.files import literal_path
from hamgan.networks import Generator
from hamgan.random_streams import Purpose
from hamgan.sampling.export.model_format import (
    GenerateFunction,
    ModelFormat,
    draw_inputs_code,
    generate_signature,
    images_comment,
    some_labels,
)
from hamgan.sampling.grids import to_uint8

_LARGEST_ROUNDING = 1
"""Difference in gray levels between two float images that are equal up to rounding."""
_CHECKED_IMAGES = 6
_CHECKED_SEED = 7
_CHECKED_TRUNCATIONS = (None, 0.7)


class SavedModelFormat(ModelFormat):
    """SavedModel with two functions, which are also its signatures.

    ``generate(z, labels)`` returns float images. ``sample(labels, seed, truncation)`` returns the uint8 images of
    :meth:`hamgan.Run.sample`: image i depends on the seed, i and its label. It draws the initial bases from the seed,
    whatever the bases of ``generate``. An infinite truncation means none. Both return a dict with "images".
    """

    title = "SavedModel"
    file_name = "saved_model"

    def write(self, generator: Generator, path: str) -> None:
        """Writes the SavedModel; see :meth:`ModelFormat.write`."""

        def sample(labels: tf.Tensor, seed: tf.Tensor, truncation: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"images": _sample(generator, labels, seed, truncation)}

        archive = archive_with_generate(generator)
        sample_signature = [
            tf.TensorSpec((None,), tf.int32, "labels"),
            tf.TensorSpec((), tf.int32, "seed"),
            tf.TensorSpec((), tf.float32, "truncation"),
        ]
        archive.add_endpoint("sample", sample, input_signature=sample_signature)
        archive.write_out(path, verbose=False)

    def load(self, path: str, generator: Generator) -> "LoadedSavedModel":
        """Loads the SavedModel; see :meth:`ModelFormat.load`."""
        return LoadedSavedModel(path)

    def verify_more(self, loaded: GenerateFunction, generator: Generator) -> None:
        """Compares ``sample`` with the generator's own inputs."""
        assert isinstance(loaded, LoadedSavedModel)
        labels = np.arange(_CHECKED_IMAGES, dtype=np.int32) % generator.num_classes
        key = random_streams.fold(_CHECKED_SEED, Purpose.SAMPLES)
        for truncation in _CHECKED_TRUNCATIONS:
            inputs = generator.draw_inputs(
                key, count=len(labels), labels=labels, truncation=truncation, as_trained=True
            )
            expected = to_uint8(generator(*inputs, training=False).numpy())
            found = loaded.sample(labels, _CHECKED_SEED, np.inf if truncation is None else truncation)
            difference = int(np.abs(found.astype(int) - expected).max())
            if difference > _LARGEST_ROUNDING:
                raise FailedError(
                    f"images of the SavedModel's sample differ from those of the run by {difference} gray levels, "
                    f"expected at most {_LARGEST_ROUNDING}; nothing was written"
                )

    def usage(self, generator: Generator) -> str:
        """Returns code for both functions."""
        return (
            "import numpy as np\n"
            "import tensorflow as tf\n\n"
            f'model = tf.saved_model.load("{self.file_name}")\n\n'
            f'images = model.sample(labels={some_labels(generator)}, seed=0, truncation=0.7)["images"]  '
            f"{images_comment(generator, 'uint8')}\n\n"
            f"{draw_inputs_code(generator)}"
            f'images = model.generate(z=z, labels=labels)["images"]  {images_comment(generator)}\n'
        )


class LoadedSavedModel:
    """The functions of an exported SavedModel.

    Args:
        path: path of the SavedModel.
    """

    def __init__(self, path: str) -> None:
        with literal_path(path) as literal:
            self._model = tf.saved_model.load(literal)

    def __call__(self, z: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Returns float images for latent vectors and labels."""
        return self._model.generate(z=z, labels=labels)["images"].numpy()

    def sample(self, labels: np.ndarray, seed: int, truncation: float) -> np.ndarray:
        """Returns uint8 images for labels and a seed."""
        return self._model.sample(labels=labels, seed=seed, truncation=truncation)["images"].numpy()


def archive_with_generate(generator: Generator) -> keras.export.ExportArchive:
    """Returns a SavedModel to be written, with the function ``generate`` of z and labels."""

    def generate(z: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"images": generator(z, labels, training=False)}

    archive = keras.export.ExportArchive()
    archive.track(generator)
    archive.add_endpoint("generate", generate, input_signature=generate_signature(generator))
    return archive


def _sample(generator: Generator, labels: tf.Tensor, seed: tf.Tensor, truncation: tf.Tensor) -> tf.Tensor:
    """Returns the uint8 images of a sampler with this seed, for a seed and a truncation that are tensors."""
    tf.debugging.assert_non_negative(seed, "sample expects a seed that is not negative")
    tf.debugging.assert_positive(truncation, "sample expects a positive truncation; infinity means none")
    key = random_streams.fold(tf.stack([seed, 0]), Purpose.SAMPLES)
    inputs = generator.draw_inputs(
        key, count=tf.shape(labels)[0], labels=labels, truncation=truncation, as_trained=True
    )
    images = tf.cast(generator(*inputs, training=False), tf.float32)
    return tf.cast(tf.clip_by_value(tf.round((images + 1.0) * 127.5), 0, 255), tf.uint8)
