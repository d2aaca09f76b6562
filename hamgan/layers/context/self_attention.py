"""Self-attention of SAGAN."""

import keras
import tensorflow as tf

from hamgan.layers.context.module import ContextModule
from hamgan.layers.input_shapes import image_channels
from hamgan.layers.spectral_normalization import SNConv2D

KEY_DIVISOR = 8
VALUE_DIVISOR = 2


@keras.saving.register_keras_serializable(package="hamgan")
class SelfAttention(ContextModule):
    """Adds global context to images by self-attention: ``x + sigma * attend(softmax(theta(x) phi(x)^T) g(x))``.

    theta and phi (C to C / 8 channels), g (C to C / 2) and attend (C / 2 to C) are 1x1 convolutions without bias, with
    kernels divided by the spectral norm. phi and g are followed by 2x2 max pooling, which drops the last row of an odd
    height and the last column of an odd width. sigma is a trainable scalar, initially 0. Time and memory are quadratic
    in the number of positions.

    Inputs and outputs have shape ``(batch, height, width, channels)``. Height and width are at least 2 and may be
    unknown; the number of channels is a multiple of 8.

    Raises:
        ValueError: if the inputs have another shape.

    Reference: Zhang et al., Self-Attention Generative Adversarial Networks (ICML 2019), section 3.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.layers import SelfAttention
        >>> SelfAttention()(tf.random.normal((2, 8, 8, 16))).shape
        TensorShape([2, 8, 8, 16])
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
        """Adds global context to ``inputs``.

        Args:
            inputs: tensor of shape ``(batch, height, width, channels)``.
            training: whether to update the singular vectors.

        Returns:
            Tensor with the shape of the inputs.

        Raises:
            ValueError: if height or width is 1.
        """
        if 1 in inputs.shape[1:3]:
            raise ValueError(
                f"{self.name} pools 2x2 and expects height and width of at least 2, received {inputs.shape}"
            )
        shape = tf.shape(inputs)
        batch, rows, columns = shape[0], shape[1] // 2, shape[2] // 2

        def positions(features: tf.Tensor) -> tf.Tensor:
            return tf.reshape(features, (batch, -1, features.shape[-1]))

        def pooled(features: tf.Tensor) -> tf.Tensor:
            # A maximum over 2x2 tiles, because XLA has no deterministic gradient of max pooling.
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
