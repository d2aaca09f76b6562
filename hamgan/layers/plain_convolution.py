"""Convolution without spectral normalisation."""

import keras
import tensorflow as tf

from hamgan.layers.precision import add_bias


class PlainConvolution(keras.layers.Conv2D):
    """A convolution that accumulates the gradient of its bias in float32 or wider."""

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Convolves images."""
        outputs = self.convolution_op(inputs, self.kernel)
        return add_bias(outputs, tf.convert_to_tensor(self.bias)) if self.use_bias else outputs
