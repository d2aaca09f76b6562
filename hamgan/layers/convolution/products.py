"""3x3 convolutions with optional resampling, computed with few matrix products.

A convolution is bilinear in image and kernel. Along one axis, each algorithm computes k linear combinations of the
image (analysis) and k of the three kernel taps, multiplies them pairwise, and combines the k products (synthesis). In
two dimensions, this takes k^2 matrix products over the channels. For image x, taps w and s = w0 + w1 + w2:

- Nearest-neighbour upsampling, then convolution (k = 3, 9 products for 4 outputs instead of 36):
  y[2i] = w0 (x[i-1] - x[i]) + s x[i],  y[2i+1] = s x[i] + w2 (x[i+1] - x[i])
- Convolution, then average pooling (k = 3, 9 products for an output instead of 36):
  2 y[i] = w0 (x[2i-1] - x[2i+1]) + s (x[2i] + x[2i+1]) + w2 (x[2i+2] - x[2i])
- Convolution alone (k = 4, 16 products for 4 outputs instead of 36): Winograd's F(2, 3)

Padding is "same" with zeros. The results equal those of a direct convolution up to rounding.

Reference: Winograd, Arithmetic Complexity of Computations (1980); Lavin and Gray, Fast Algorithms for Convolutional
Neural Networks (CVPR 2016). The algorithms with resampling are this project's own.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from hamgan.layers.convolution.bilinear import Contraction, bilinear, linear

Fields = Sequence[tf.Tensor]


class _Algorithm(NamedTuple):
    """Algorithm along one axis; its functions are linear and take an array, or k of them, and the axis."""

    taps: np.ndarray
    """Coefficients of the kernel's combinations, shape ``(k, 3)``."""
    analyze: Callable[[tf.Tensor, int], Fields]
    """Computes k fields of an image."""
    analyze_adjoint: Callable[[Fields, int], tf.Tensor]
    synthesize: Callable[[Fields, int], tf.Tensor] | None
    """Combines k products into the output; None means their sum."""
    synthesize_adjoint: Callable[[tf.Tensor, int], Fields] | None


def _cut(x: tf.Tensor, axis: int, begin: int, end: int) -> tf.Tensor:
    """Removes the first ``begin`` and the last ``end`` elements."""
    first, size = [0] * x.shape.rank, [-1] * x.shape.rank
    first[axis], size[axis] = begin, x.shape[axis] - begin - end
    return tf.slice(x, first, size)


def _pad(x: tf.Tensor, axis: int, before: int, after: int) -> tf.Tensor:
    paddings = [[0, 0] for _ in x.shape]
    paddings[axis] = [before, after]
    return tf.pad(x, paddings)


def _next(x: tf.Tensor, axis: int) -> tf.Tensor:
    """Returns x[i + 1], with zero after the end."""
    return _pad(_cut(x, axis, 1, 0), axis, 0, 1)


def _previous(x: tf.Tensor, axis: int) -> tf.Tensor:
    """Returns x[i - 1], with zero before the start."""
    return _pad(_cut(x, axis, 0, 1), axis, 1, 0)


def _reshape(x: tf.Tensor, shape: Sequence[int | None]) -> tf.Tensor:
    """Reshapes ``x``; None stands for an unknown batch size."""
    return tf.reshape(x, [-1 if extent is None else extent for extent in shape])


def _split(x: tf.Tensor, axis: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns x[2i] and x[2i + 1]."""
    shape = list(x.shape)
    shape[axis : axis + 1] = [shape[axis] // 2, 2]
    return tf.unstack(_reshape(x, shape), num=2, axis=axis)


def _interleave(even: tf.Tensor, odd: tf.Tensor, axis: int) -> tf.Tensor:
    shape = list(even.shape)
    shape[axis] *= 2
    return _reshape(tf.stack([even, odd], axis=axis), shape)


def _upsampling_analyze(x: tf.Tensor, axis: int) -> Fields:
    return _previous(x, axis) - x, x, _next(x, axis) - x


def _upsampling_analyze_adjoint(fields: Fields, axis: int) -> tf.Tensor:
    before, here, after = fields
    return here - before - after + _next(before, axis) + _previous(after, axis)


def _upsampling_synthesize(products: Fields, axis: int) -> tf.Tensor:
    before, here, after = products
    return _interleave(before + here, here + after, axis)


def _upsampling_synthesize_adjoint(y: tf.Tensor, axis: int) -> Fields:
    even, odd = _split(y, axis)
    return even, even + odd, odd


def _pooling_analyze(x: tf.Tensor, axis: int) -> Fields:
    even, odd = _split(x, axis)
    return _previous(odd, axis) - odd, even + odd, _next(even, axis) - even


def _pooling_analyze_adjoint(fields: Fields, axis: int) -> tf.Tensor:
    before, here, after = fields
    return _interleave(here + _previous(after, axis) - after, here + _next(before, axis) - before, axis)


def _winograd_analyze(x: tf.Tensor, axis: int) -> Fields:
    even, odd = _split(x, axis)
    return _previous(odd, axis) - odd, even + odd, odd - even, _next(even, axis) - even


def _winograd_analyze_adjoint(fields: Fields, axis: int) -> tf.Tensor:
    before, total, difference, after = fields
    even = total - difference - after + _previous(after, axis)
    odd = total + difference - before + _next(before, axis)
    return _interleave(even, odd, axis)


def _winograd_synthesize(products: Fields, axis: int) -> tf.Tensor:
    m0, m1, m2, m3 = products
    return _interleave(m0 + m1 + m2, m1 - m2 + m3, axis)


def _winograd_synthesize_adjoint(y: tf.Tensor, axis: int) -> Fields:
    even, odd = _split(y, axis)
    return even, even + odd, even - odd, odd


_ENDS_AND_SUM = np.array([[1, 0, 0], [1, 1, 1], [0, 0, 1]])
_AFTER_UPSAMPLING = _Algorithm(
    _ENDS_AND_SUM,
    _upsampling_analyze,
    _upsampling_analyze_adjoint,
    _upsampling_synthesize,
    _upsampling_synthesize_adjoint,
)
# One half along each axis gives the mean of four.
_BEFORE_POOLING = _Algorithm(_ENDS_AND_SUM / 2, _pooling_analyze, _pooling_analyze_adjoint, None, None)
_WINOGRAD = _Algorithm(
    np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]]),
    _winograd_analyze,
    _winograd_analyze_adjoint,
    _winograd_synthesize,
    _winograd_synthesize_adjoint,
)
TAPS = 3
HEIGHT, WIDTH = -3, -2
"""Axes counted from the end, because fields are stacked before the batch."""


def _convolution(algorithm: _Algorithm) -> Contraction:
    """Returns the function of (images, kernel, scale) that an algorithm computes."""
    taps = np.kron(algorithm.taps, algorithm.taps)
    num_products, num_taps = taps.shape
    is_sum = algorithm.synthesize is None

    def transform(kernel: tf.Tensor, scale: tf.Tensor, needed_for: tf.Tensor) -> tf.Tensor:
        """Returns the kernel's combinations, ``(k^2, in_channels, out_channels)``, in the dtype of ``needed_for``."""
        # Without the dependency, the transforms of all layers could run early and occupy memory at the same time.
        with tf.control_dependencies([needed_for]):
            combined = tf.matmul(tf.constant(taps, kernel.dtype) * scale, tf.reshape(kernel, (num_taps, -1)))
        return tf.reshape(tf.cast(combined, needed_for.dtype), (num_products, *kernel.shape[2:]))

    def transform_adjoint(gradient: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
        combined = tf.cast(tf.reshape(gradient, (num_products, -1)), scale.dtype)
        combined = tf.matmul(tf.constant(taps.T, scale.dtype) * scale, combined)
        return tf.reshape(combined, (TAPS, TAPS, *gradient.shape[1:]))

    # The backward pass recomputes fields and transformed kernel, which are larger than images and kernel.

    def multiply(images: tf.Tensor, kernel: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
        fields = _analyze(images, algorithm)
        transformed = transform(kernel, scale, needed_for=images)
        if not is_sum:
            return _fields(tf.matmul(_matrices(fields), transformed), fields)
        # Sums all products in one product of longer rows. The reshape of each field works around the TensorFlow Lite
        # converter, which turns tf.concat(tf.unstack()) into a plain reshape.
        fields_in_a_row = tf.unstack(_reshape(fields, [num_products, *fields.shape[2:]]))
        rows = tf.concat([tf.reshape(field, (-1, field.shape[-1])) for field in fields_in_a_row], axis=-1)
        outputs = tf.matmul(rows, tf.reshape(transformed, (-1, transformed.shape[-1])))
        return _reshape(outputs, [*fields.shape[2:-1], transformed.shape[-1]])

    def to_images(products: tf.Tensor, kernel: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
        transformed = transform(kernel, scale, needed_for=products)
        fields = tf.matmul(matrices_of(products), transformed, transpose_b=True)
        side = len(algorithm.taps)
        shape = [side, side, *products.shape[-4:-1], kernel.shape[2]]
        return _analyze_adjoint(_reshape(fields, shape), algorithm)

    def to_kernel(images: tf.Tensor, products: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
        with tf.control_dependencies([products]):
            fields = _analyze(tf.identity(images), algorithm)
        return transform_adjoint(tf.matmul(_matrices(fields), matrices_of(products), transpose_a=True), scale)

    def matrices_of(products: tf.Tensor) -> tf.Tensor:
        # All fields share the gradient of a sum; the matrix product broadcasts it.
        return tf.reshape(products, (1, -1, products.shape[-1])) if is_sum else _matrices(products)

    products = bilinear(multiply, to_images, to_kernel)
    if is_sum:
        return products
    synthesize = linear(
        lambda products: _synthesize(products, algorithm), lambda outputs: _synthesize_adjoint(outputs, algorithm)
    )
    return lambda images, kernel, scale: synthesize(products(images, kernel, scale))


def _analyze(x: tf.Tensor, algorithm: _Algorithm) -> tf.Tensor:
    """Returns the k^2 fields of an image, ``(k, k, batch, height, width, channels)``."""
    rows = tf.stack(algorithm.analyze(x, HEIGHT))
    return tf.stack(algorithm.analyze(rows, WIDTH), axis=1)


# Height before width below: unstacking along the first axis copies nothing.


def _analyze_adjoint(fields: tf.Tensor, algorithm: _Algorithm) -> tf.Tensor:
    columns = algorithm.analyze_adjoint(tf.unstack(fields), HEIGHT)
    return algorithm.analyze_adjoint(tf.unstack(columns), WIDTH)


def _synthesize(products: tf.Tensor, algorithm: _Algorithm) -> tf.Tensor:
    """Combines k^2 products, ``(k, k, batch, height, width, channels)``, into the output."""
    assert algorithm.synthesize is not None
    columns = algorithm.synthesize(tf.unstack(products), HEIGHT)
    return algorithm.synthesize(tf.unstack(columns), WIDTH)


def _synthesize_adjoint(y: tf.Tensor, algorithm: _Algorithm) -> tf.Tensor:
    assert algorithm.synthesize_adjoint is not None
    rows = tf.stack(algorithm.synthesize_adjoint(y, HEIGHT))
    return tf.stack(algorithm.synthesize_adjoint(rows, WIDTH), axis=1)


def _matrices(fields: tf.Tensor) -> tf.Tensor:
    """Reshapes ``(k, k, batch, height, width, channels)`` to ``(k^2, batch * height * width, channels)``."""
    return tf.reshape(fields, (fields.shape[0] ** 2, -1, fields.shape[-1]))


def _fields(matrices: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    return _reshape(matrices, [*like.shape[:-1], matrices.shape[-1]])


_after_upsampling = _convolution(_AFTER_UPSAMPLING)
_before_pooling = _convolution(_BEFORE_POOLING)
_alone = _convolution(_WINOGRAD)


def upsample_convolve(images: tf.Tensor, kernel: tf.Tensor, scale: tf.Tensor | float = 1.0) -> tf.Tensor:
    """Upsamples images by two with nearest neighbours, then applies a 3x3 convolution.

    Args:
        images: tensor of shape ``(batch, height, width, in_channels)``; only the batch size may be unknown.
        kernel: tensor of shape ``(3, 3, in_channels, out_channels)``, transformed in its own dtype.
        scale: non-zero scalar factor of the kernel, merged into the transform at no cost.

    Returns:
        Tensor of shape ``(batch, 2 * height, 2 * width, out_channels)`` in the dtype of the images.
    """
    return _after_upsampling(images, kernel, tf.convert_to_tensor(scale, kernel.dtype))


def convolve_downsample(images: tf.Tensor, kernel: tf.Tensor, scale: tf.Tensor | float = 1.0) -> tf.Tensor:
    """Applies a 3x3 convolution, then 2x2 average pooling.

    Args:
        images: tensor of shape ``(batch, height, width, in_channels)`` with even height and width.
        kernel: kernel, see :func:`upsample_convolve`.
        scale: factor of the kernel, see :func:`upsample_convolve`.

    Returns:
        Tensor of shape ``(batch, height / 2, width / 2, out_channels)`` in the dtype of the images.
    """
    return _before_pooling(images, kernel, tf.convert_to_tensor(scale, kernel.dtype))


def convolve(images: tf.Tensor, kernel: tf.Tensor, scale: tf.Tensor | float = 1.0) -> tf.Tensor:
    """Applies a 3x3 convolution.

    Args:
        images: tensor of shape ``(batch, height, width, in_channels)`` with even height and width.
        kernel: kernel, see :func:`upsample_convolve`.
        scale: factor of the kernel, see :func:`upsample_convolve`.

    Returns:
        Tensor of shape ``(batch, height, width, out_channels)`` in the dtype of the images.
    """
    return _alone(images, kernel, tf.convert_to_tensor(scale, kernel.dtype))
