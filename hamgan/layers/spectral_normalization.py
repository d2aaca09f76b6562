"""Spectral normalisation as in TF-GAN: one power iteration per call, and gradients through the norm."""

from typing import Any

import keras
import tensorflow as tf

from hamgan.architecture import CONVOLUTION_FORMS
from hamgan.layers.class_lookup import class_labels, class_rows
from hamgan.layers.convolution import Resampling, convolve
from hamgan.layers.custom_gradient import custom_gradient
from hamgan.layers.execution import convolution_form
from hamgan.layers.input_shapes import image_channels
from hamgan.layers.precision import accumulation_dtype, add_bias


def spectral_norm(matrix: tf.Tensor, u: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Estimates the largest singular value of a matrix W by one power iteration.

    v = l2n(W^T u), u' = l2n(W v), norm = u'^T W v. Gradients flow to W, with u' and v as constants.

    Args:
        matrix: matrix W of shape ``(rows, columns)``.
        u: estimate of the first left singular vector, shape ``(rows, 1)``.

    Returns:
        The norm, a scalar, and the new estimate u', shape ``(rows, 1)``.

    Reference: Miyato et al., Spectral Normalization for Generative Adversarial Networks (ICLR 2018), algorithm 1;
    TF-GAN 2.1.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.layers import spectral_norm
        >>> norm, u = spectral_norm(tf.constant([[3.0, 0.0], [0.0, 1.0]]), tf.constant([[1.0], [0.0]]))
        >>> float(norm), u.shape
        (3.0, TensorShape([2, 1]))
    """

    @custom_gradient
    def iterate(matrix: tf.Tensor) -> tuple[tuple[tf.Tensor, tf.Tensor], Any]:
        norm, new_u, v = _power_iteration(matrix, u)

        def grad(to_norm: tf.Tensor, _to_new_u: tf.Tensor) -> tf.Tensor:
            return tf.matmul(to_norm * new_u, v, transpose_b=True)

        return (norm, new_u), grad

    return iterate(matrix)


def _power_iteration(matrix: tf.Tensor, u: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the norm, u' and v as constants."""
    matrix, u = tf.stop_gradient(matrix), tf.stop_gradient(u)
    v = tf.math.l2_normalize(tf.matmul(matrix, u, transpose_a=True))
    product = tf.matmul(matrix, v)
    new_u = tf.math.l2_normalize(product)
    return tf.reduce_sum(new_u * product), new_u, v


class SpectrallyNormalized(keras.Layer):
    """Base class of layers with a spectrally normalised kernel, W / max(norm_floor, norm(W)).

    Calls with ``training=True`` update the singular vector u, a non-trainable weight.

    Args:
        norm_floor: lower bound of the divisor. 1.0 never scales a kernel up; 0.0 divides by the norm itself, as the
            1x1 convolutions of Hamburger and self-attention do.
    """

    def __init__(self, *, norm_floor: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if norm_floor < 0:
            raise ValueError(f"norm_floor must not be negative, received {norm_floor}")
        self.norm_floor = norm_floor

    def _add_kernel(self, shape: tuple[int, ...], num_rows: int, name: str = "kernel") -> None:
        # Normalised in float32 or wider, then cast: autocast would return bfloat16 singular vectors.
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
        # add_bias() casts it: with autocast, its gradient would be accumulated in half precision.
        self.bias = self.add_weight(name="bias", shape=(width,), initializer="zeros", autocast=False)

    def _matrix(self, kernel: tf.Tensor) -> tf.Tensor:
        return tf.reshape(kernel, (-1, kernel.shape[-1]))

    def _kernel_matrix(self) -> tf.Tensor:
        return self._matrix(tf.cast(tf.convert_to_tensor(self.kernel), self.u.dtype))

    def kernel_scale(self, training: bool | None) -> tf.Tensor:
        """Returns the kernel's factor, 1 / max(norm_floor, norm); updates u if ``training``."""
        norm, new_u = spectral_norm(self._kernel_matrix(), tf.convert_to_tensor(self.u))
        if training:
            self.u.assign(new_u)
        return tf.cast(1.0 / tf.maximum(norm, self.norm_floor), self.kernel.dtype)

    def normalized_kernel(self, training: bool | None) -> tf.Tensor:
        """Returns the normalised kernel in the dtype of the weights; updates u if ``training``."""
        return tf.convert_to_tensor(self.kernel) * self.kernel_scale(training)

    def largest_singular_value(self) -> tf.Tensor:
        """Returns the norm of u^T W, which estimates the kernel's largest singular value."""
        u = tf.math.l2_normalize(tf.convert_to_tensor(self.u))
        return tf.norm(tf.matmul(self._kernel_matrix(), u, transpose_a=True))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "norm_floor": self.norm_floor}


def spectrally_normalized_layers(model: keras.Model) -> list[SpectrallyNormalized]:
    """Returns all spectrally normalised layers of a model, at any depth."""
    return [layer for layer in model._flatten_layers() if isinstance(layer, SpectrallyNormalized)]


@keras.saving.register_keras_serializable(package="hamgan")
class SNConv2D(SpectrallyNormalized):
    """2D convolution with a spectrally normalised kernel, stride 1, same padding and optional resampling.

    The kernel is divided by max(norm_floor, norm), where the norm is that of the kernel reshaped to
    ``(kernel_size^2 * channels, filters)``. Inputs have shape ``(batch, height, width, channels)``, outputs
    ``(batch, height, width, filters)``, with the height and width doubled or halved by resampling.

    Args:
        filters: number of output channels.
        kernel_size: height and width of the kernel.
        use_bias: whether to add a bias.
        norm_floor: lower bound of the divisor; 1.0 never scales the kernel up.
        resampling: None, "up" (nearest-neighbour upsampling by two before the convolution) or "down" (2x2 average
            pooling after it).
        form: algorithm, see :mod:`hamgan.layers.convolution`; results agree up to rounding. None takes the current
            setting of :func:`hamgan.layers.execution.execution`.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Miyato et al., Spectral Normalization for Generative Adversarial Networks (ICLR 2018), section 2.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.layers import SNConv2D
        >>> SNConv2D(8, 3, resampling="up")(tf.random.normal((2, 4, 4, 3))).shape
        TensorShape([2, 8, 8, 8])
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
        """Creates the kernel, u and the bias."""
        channels = image_channels(self, input_shape)
        size = self.kernel_size
        self._add_kernel((size, size, channels, self.filters), size * size * channels)
        if self.use_bias:
            self._add_bias(self.filters)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Convolves images.

        Args:
            inputs: tensor of shape ``(batch, height, width, channels)``.
            training: whether to update the singular vector.

        Returns:
            Tensor of shape ``(batch, new_height, new_width, filters)``.
        """
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
    """Dense layer with a bias and a spectrally normalised kernel.

    ``inputs @ kernel / max(norm_floor, norm) + bias``. Inputs have shape ``(batch, features)``, outputs
    ``(batch, units)``.

    Args:
        units: number of output features.
        norm_floor: lower bound of the divisor; 1.0 never scales the kernel up.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Miyato et al., Spectral Normalization for Generative Adversarial Networks (ICLR 2018), section 2.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.layers import SNDense
        >>> SNDense(8)(tf.random.normal((2, 4))).shape
        TensorShape([2, 8])
    """

    def __init__(self, units: int, *, norm_floor: float = 1.0, **kwargs: Any) -> None:
        super().__init__(norm_floor=norm_floor, **kwargs)
        if units < 1:
            raise ValueError(f"units must be positive, received {units}")
        self.units = units

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the kernel, u and the bias."""
        features = input_shape[-1]
        if len(input_shape) != 2 or features is None:
            raise ValueError(f"{self.name} expects (batch, features) with features known, received {input_shape}")
        self.input_spec = keras.InputSpec(ndim=2, axes={-1: features})
        self._add_kernel((features, self.units), features)
        self._add_bias(self.units)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Computes ``inputs @ normalized_kernel + bias``.

        Args:
            inputs: tensor of shape ``(batch, features)``.
            training: whether to update the singular vector.

        Returns:
            Tensor of shape ``(batch, units)``.
        """
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
    """Embedding of class labels with a spectrally normalised table.

    ``(table / max(norm_floor, norm))[label]``. Labels have shape ``(batch,)`` or ``(batch, 1)``, outputs
    ``(batch, width)``. The power iteration uses the transpose of the table, so u has shape ``(width, 1)``.

    Args:
        num_classes: number of classes.
        width: number of output features.
        norm_floor: lower bound of the divisor; 1.0 never scales the table up.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Miyato and Koyama, cGANs with Projection Discriminator (ICLR 2018).

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.layers import SNEmbedding
        >>> SNEmbedding(num_classes=10, width=8)(tf.constant([3, 7])).shape
        TensorShape([2, 8])
    """

    def __init__(self, num_classes: int, width: int, *, norm_floor: float = 1.0, **kwargs: Any) -> None:
        super().__init__(norm_floor=norm_floor, **kwargs)
        if num_classes < 1 or width < 1:
            raise ValueError(f"num_classes and width must be positive, received {num_classes} and {width}")
        self.num_classes = num_classes
        self.width = width
        self.autocast = False  # Autocast would round float labels.

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the table and u."""
        self._add_kernel((self.num_classes, self.width), self.width, name="embeddings")

    def _matrix(self, kernel: tf.Tensor) -> tf.Tensor:
        return tf.transpose(kernel)

    def call(self, labels: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Looks up one row of the normalised table per label.

        Args:
            labels: integers in [0, num_classes), shape ``(batch,)`` or ``(batch, 1)``.
            training: whether to update the singular vector.

        Returns:
            Tensor of shape ``(batch, width)``.

        Raises:
            ValueError: if a label is invalid.
        """
        labels = class_labels(labels, self.num_classes, layer=self.name)
        return tf.cast(class_rows(self.normalized_kernel(training), labels), self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns ``(batch, width)``."""
        return (input_shape[0], self.width)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "num_classes": self.num_classes, "width": self.width}
