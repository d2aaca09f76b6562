"""Models of several inputs that can be exported without a signature."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf


class ServedModel(keras.Model):
    """A model that knows its inputs, so that ``export()`` and ``tf.saved_model.save`` need no signature.

    Keras knows those of functional models only.
    """

    def input_signature(self) -> list[keras.InputSpec]:
        """Returns shape, dtype and name of each positional input of ``call``, any batch size."""
        raise TypeError(f"{type(self).__name__} must define input_signature()")

    def export(
        self,
        filepath: str,
        format: str = "tf_saved_model",
        verbose: bool | None = None,
        input_signature: Any = None,
        **kwargs: Any,
    ) -> None:
        """Exports the network in evaluation mode; see ``keras.Model.export``.

        Args:
            filepath: path to write.
            format: "tf_saved_model", "onnx", "litert" or another format of Keras.
            verbose: whether Keras prints what it wrote.
            input_signature: specifications of the inputs; :meth:`input_signature` if absent.
            kwargs: options of the format.
        """
        signature = self.input_signature() if input_signature is None else input_signature
        super().export(filepath, format=format, verbose=verbose, input_signature=signature, **kwargs)

    @property
    def _default_save_signature(self) -> Callable[..., Any]:
        """The function that ``tf.saved_model.save`` calls ``serving_default``."""
        specs = [tf.TensorSpec(spec.shape, spec.dtype, spec.name) for spec in self.input_signature()]

        @tf.function(input_signature=specs)
        def serving_default(*inputs: tf.Tensor) -> tf.Tensor:
            return self(*inputs, training=False)

        return serving_default
