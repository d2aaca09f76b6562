"""Self-attention as in SAGAN."""

import keras
import tensorflow as tf

from hamgan.layers.context.module import ContextModule
from hamgan.layers.input_shapes import image_channels
from hamgan.layers.spectral_normalization import SNConv2D

KEY_DIVISOR = 8
VALUE_DIVISOR = 2


@keras.saving.register_keras_serializable(package="hamgan")
class SelfAttention(ContextModule):
    """Global context by dot-product attention: ``x + sigma * attend(softmax(theta(x) phi(x)^T) g(x))``.

    theta, phi (C to C / 8), g (C to C / 2) and attend (C / 2 to C) are 1x1 convolutions without bias, divided by their
    spectral norm; phi and g are max-pooled 2x2. sigma is a scalar, initially 0.

    Input and output ``(batch, height, width, channels)``; height and width at least 2, perhaps unknown, and channels a
    multiple of 8. Pooling leaves out the last row of an odd height and the last column of an odd width. Time and memory
    grow with the square of the number of positions.

    Reference: Zhang et al., Self-Attention Generative Adversarial Networks (ICML 2019), section 3.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the convolutions and sigma."""
        channels = image_channels(self, input_shape)
        if channels % KEY_DIVISOR:
            raise ValueError(f"{self.name} expects channels a multiple of {KEY_DIVISOR}, received {input_shape}")

        def conv(name: str, inputs: int, outputs: int) -> SNConv2D:
            layer = SNConv2D(outputs, 1, use_bias=False, norm_floor=0.0, name=name, dtype=self.dtype_policy)
            layer.build((None, None, None, inputs))
            return layer

        self.theta = conv("theta", channels, channels // KEY_DIVISOR)
        self.phi = conv("phi", channels, channels // KEY_DIVISOR)
        self.g = conv("g", channels, channels // VALUE_DIVISOR)
        self.attend = conv("attend", channels // VALUE_DIVISOR, channels)
        self.sigma = self.add_weight(name="sigma", shape=(), initializer="zeros")

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Adds global context to ``inputs``."""
        if 1 in inputs.shape[1:3]:
            raise ValueError(
                f"{self.name} pools 2x2 and expects height and width of at least 2, received {inputs.shape}"
            )
        shape = tf.shape(inputs)
        batch, rows, columns = shape[0], shape[1] // 2, shape[2] // 2

        def positions(features: tf.Tensor) -> tf.Tensor:
            return tf.reshape(features, (batch, -1, features.shape[-1]))

        def pooled(features: tf.Tensor) -> tf.Tensor:
            # As a maximum over 2x2 tiles: XLA has no deterministic gradient of max pooling.
            if any(size is None or size % 2 for size in features.shape[1:3]):
                features = features[:, : 2 * rows, : 2 * columns]
            tiles = tf.reshape(features, (batch, rows, 2, columns, 2, features.shape[-1]))
            return positions(tf.reduce_max(tiles, axis=(2, 4)))

        queries = positions(self.theta(inputs, training=training))
        keys = pooled(self.phi(inputs, training=training))
        values = pooled(self.g(inputs, training=training))
        attention = tf.nn.softmax(tf.matmul(queries, keys, transpose_b=True))
        context = tf.matmul(attention, values)
        context = tf.reshape(context, (batch, shape[1], shape[2], values.shape[-1]))
        return inputs + tf.cast(self.sigma, inputs.dtype) * self.attend(context, training=training)
