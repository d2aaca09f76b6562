"""Spectral normalisation with TF-GAN's semantics: one power iteration per use, gradient through the norm."""

from typing import Any

import keras
import tensorflow as tf

from hamgan.architecture import CONVOLUTION_FORMS
from hamgan.layers.class_lookup import class_labels, class_rows
from hamgan.layers.convolution import Resampling, convolve
from hamgan.layers.execution import convolution_form
from hamgan.layers.gradients import custom_gradient
from hamgan.layers.input_shapes import image_channels
from hamgan.layers.precision import accumulation_dtype, add_bias


def spectral_norm(matrix: tf.Tensor, u: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Estimates the largest singular value of a matrix by one power iteration.

    v = l2n(W^T u), u' = l2n(W v), norm = u'^T W v. The gradient flows through W in the norm; u' and v are
    constants.

    Args:
        matrix: W, of shape ``(rows, columns)``.
        u: the running estimate of the first left singular vector, of shape ``(rows, 1)``.

    Returns:
        The norm, a scalar, and u', of shape ``(rows, 1)``.

    Reference: Miyato et al., Spectral Normalization for GANs (ICLR 2018), algorithm 1; TF-GAN 2.1.
    """

    @custom_gradient
    def iterate(matrix: tf.Tensor) -> tuple[tuple[tf.Tensor, tf.Tensor], Any]:
        norm, new_u, v = _power_iteration(matrix, u)

        def grad(to_norm: tf.Tensor, _to_new_u: tf.Tensor) -> tf.Tensor:
            return tf.matmul(to_norm * new_u, v, transpose_b=True)

        return (norm, new_u), grad

    return iterate(matrix)


def _power_iteration(matrix: tf.Tensor, u: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns norm, u' and v, all constants."""
    matrix, u = tf.stop_gradient(matrix), tf.stop_gradient(u)
    v = tf.math.l2_normalize(tf.matmul(matrix, u, transpose_a=True))
    product = tf.matmul(matrix, v)
    new_u = tf.math.l2_normalize(product)
    return tf.reduce_sum(new_u * product), new_u, v


class SpectrallyNormalized(keras.Layer):
    """Base of layers with one spectrally normalised kernel, W / max(norm_floor, norm(W)).

    Args:
        norm_floor: 1.0 never scales a kernel up (convolutions, dense layers, the embedding); 0.0 divides by the
            norm itself (the 1x1 convolutions of Hamburger and of self-attention).

    A call with ``training=True`` stores the new singular vector; other calls leave it as it was.
    """

    def __init__(self, *, norm_floor: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if norm_floor < 0:
            raise ValueError(f"norm_floor must not be negative, received {norm_floor}")
        self.norm_floor = norm_floor

    def _add_kernel(self, shape: tuple[int, ...], num_rows: int, name: str = "kernel") -> None:
        # Normalised in float32 or wider and cast afterwards: autocast would hand out bfloat16 singular vectors.
        self.kernel = self.add_weight(name=name, shape=shape, initializer="glorot_uniform", autocast=False)
        self.u = self.add_weight(
            name="u",
            shape=(num_rows, 1),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
            trainable=False,
            dtype=accumulation_dtype(self.variable_dtype).name,
            autocast=False,
            aggregation="only_first_replica",
        )

    def _add_bias(self, width: int) -> None:
        # Added by add_bias(), which casts it: autocast would sum its gradient in half precision.
        self.bias = self.add_weight(name="bias", shape=(width,), initializer="zeros", autocast=False)

    def _matrix(self, kernel: tf.Tensor) -> tf.Tensor:
        return tf.reshape(kernel, (-1, kernel.shape[-1]))

    def _kernel_matrix(self) -> tf.Tensor:
        return self._matrix(tf.cast(tf.convert_to_tensor(self.kernel), self.u.dtype))

    def kernel_scale(self, training: bool | None) -> tf.Tensor:
        """Returns 1 / max(norm_floor, norm), by which the kernel is multiplied; stores u' if ``training``."""
        norm, new_u = spectral_norm(self._kernel_matrix(), tf.convert_to_tensor(self.u))
        if training:
            self.u.assign(new_u)
        return tf.cast(1.0 / tf.maximum(norm, self.norm_floor), self.kernel.dtype)

    def normalized_kernel(self, training: bool | None) -> tf.Tensor:
        """Returns the kernel over its norm, in the weights' dtype; stores u' if ``training``."""
        return tf.convert_to_tensor(self.kernel) * self.kernel_scale(training)

    def largest_singular_value(self) -> tf.Tensor:
        """Returns the norm of u^T W, a scalar: the kernel's largest singular value as far as u has converged."""
        u = tf.math.l2_normalize(tf.convert_to_tensor(self.u))
        return tf.norm(tf.matmul(self._kernel_matrix(), u, transpose_a=True))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "norm_floor": self.norm_floor}


def spectrally_normalized_layers(model: keras.Model) -> list[SpectrallyNormalized]:
    """Returns all spectrally normalised layers inside a model, at any depth."""
    return [layer for layer in model._flatten_layers() if isinstance(layer, SpectrallyNormalized)]


@keras.saving.register_keras_serializable(package="hamgan")
class SNConv2D(SpectrallyNormalized):
    """Convolution, stride 1 and same padding, with a spectrally normalised kernel, perhaps with resampling.

    Args:
        filters: output channels.
        kernel_size: height and width of the kernel.
        use_bias: whether a bias is added after the convolution.
        norm_floor: see :class:`SpectrallyNormalized`.
        resampling: "up": nearest upsampling by two before the convolution; "down": 2x2 average pooling after it.
        form: algorithm, see :mod:`hamgan.layers.convolution`; results are equal up to rounding. By default, the form
            that :func:`hamgan.layers.execution.execution` sets where the layer is created.

    Input ``(batch, height, width, channels)``, output ``(batch, height, width, filters)``, or twice or half the height
    and width. The kernel ``(kh, kw, cin, cout)`` is normalised as a ``(kh * kw * cin, cout)`` matrix in every form.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        *,
        use_bias: bool = True,
        norm_floor: float = 1.0,
        resampling: Resampling | None = None,
        form: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(norm_floor=norm_floor, **kwargs)
        form = convolution_form() if form is None else form
        if filters < 1 or kernel_size < 1:
            raise ValueError(f"filters and kernel_size must be positive, received {filters} and {kernel_size}")
        for argument, value, known in (
            ("resampling", resampling, (None, "up", "down")),
            ("form", form, CONVOLUTION_FORMS),
        ):
            if value not in known:
                raise ValueError(f"{argument} must be one of {known}, received {value!r}")
        self.filters = filters
        self.kernel_size = kernel_size
        self.use_bias = use_bias
        self.resampling = resampling
        self.form = form

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates kernel, u and bias."""
        channels = image_channels(self, input_shape)
        size = self.kernel_size
        self._add_kernel((size, size, channels, self.filters), size * size * channels)
        if self.use_bias:
            self._add_bias(self.filters)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Convolves ``inputs``."""
        kernel, scale = tf.convert_to_tensor(self.kernel), self.kernel_scale(training)
        outputs = convolve(inputs, kernel, scale=scale, resampling=self.resampling, form=self.form)
        return add_bias(outputs, tf.convert_to_tensor(self.bias)) if self.use_bias else outputs

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the input's shape with ``filters`` channels, height and width doubled or halved by resampling."""
        batch, height, width, _channels = input_shape
        if self.resampling == "up":
            height, width = height and 2 * height, width and 2 * width
        elif self.resampling == "down":
            height, width = height and height // 2, width and width // 2
        return (batch, height, width, self.filters)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "use_bias": self.use_bias,
            "resampling": self.resampling,
            "form": self.form,
        }


@keras.saving.register_keras_serializable(package="hamgan")
class SNDense(SpectrallyNormalized):
    """Dense layer with bias and a spectrally normalised kernel: ``(batch, features)`` to ``(batch, units)``."""

    def __init__(self, units: int, *, norm_floor: float = 1.0, **kwargs: Any) -> None:
        super().__init__(norm_floor=norm_floor, **kwargs)
        if units < 1:
            raise ValueError(f"units must be positive, received {units}")
        self.units = units

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates kernel, u and bias."""
        features = input_shape[-1]
        if len(input_shape) != 2 or features is None:
            raise ValueError(f"{self.name} expects (batch, features) with features known, received {input_shape}")
        self.input_spec = keras.InputSpec(ndim=2, axes={-1: features})
        self._add_kernel((features, self.units), features)
        self._add_bias(self.units)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Returns ``inputs @ kernel + bias``."""
        kernel = tf.cast(self.normalized_kernel(training), inputs.dtype)
        return add_bias(tf.matmul(inputs, kernel), tf.convert_to_tensor(self.bias))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns ``(batch, units)``."""
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable(package="hamgan")
class SNEmbedding(SpectrallyNormalized):
    """Spectrally normalised class embedding: labels, ``(batch,)`` or ``(batch, 1)``, to vectors ``(batch, width)``.

    Labels are checked by :func:`hamgan.layers.class_lookup.class_labels`. The table ``(num_classes, width)`` is
    normalised as its transpose, so u has shape ``(width, 1)``.
    """

    def __init__(self, num_classes: int, width: int, *, norm_floor: float = 1.0, **kwargs: Any) -> None:
        super().__init__(norm_floor=norm_floor, **kwargs)
        if num_classes < 1 or width < 1:
            raise ValueError(f"num_classes and width must be positive, received {num_classes} and {width}")
        self.num_classes = num_classes
        self.width = width
        self.autocast = False  # Labels that come as floats must not be rounded.

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the table and u."""
        self._add_kernel((self.num_classes, self.width), self.width, name="embeddings")

    def _matrix(self, kernel: tf.Tensor) -> tf.Tensor:
        return tf.transpose(kernel)

    def call(self, labels: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Returns one row of the normalised table per label."""
        labels = class_labels(labels, self.num_classes, layer=self.name)
        return tf.cast(class_rows(self.normalized_kernel(training), labels), self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns ``(batch, width)``."""
        return (input_shape[0], self.width)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "num_classes": self.num_classes, "width": self.width}
