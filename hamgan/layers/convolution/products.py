"""3x3 convolutions as few matrix products, together with the upsampling before or the pooling after them.

A convolution is bilinear in image and kernel. Along one axis each algorithm here takes k linear combinations of the
image (analysis), k of the kernel's three taps, multiplies them pairwise, and puts the k products together (synthesis).
In two dimensions that is k^2 matrix products over the channels. With x the image, w the taps, s = w0 + w1 + w2:

- nearest upsampling, then convolution (k = 3, 9 products for 4 outputs instead of 36):
  y[2i] = w0 (x[i-1] - x[i]) + s x[i],  y[2i+1] = s x[i] + w2 (x[i+1] - x[i])
- convolution, then average pooling (k = 3, 9 products for an output instead of 36):
  2 y[i] = w0 (x[2i-1] - x[2i+1]) + s (x[2i] + x[2i+1]) + w2 (x[2i+2] - x[2i])
- convolution alone (k = 4, 16 products for 4 outputs instead of 36): Winograd's F(2, 3)

Padding is with zeros, so that the size stays. The results are the convolutions' own but for rounding.

Reference: Winograd, Arithmetic Complexity of Computations (1980); Lavin and Gray, Fast Algorithms for Convolutional
Neural Networks (CVPR 2016). The first two are derived here.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from hamgan.layers.convolution.bilinear import Contraction, bilinear, linear

Fields = Sequence[tf.Tensor]


class _Algorithm(NamedTuple):
    """One axis. The functions take arrays and the axis, and are linear; each stands with its adjoint."""

    taps: np.ndarray
    """What becomes of the kernel's three taps: ``(k, 3)``."""
    analyze: Callable[[tf.Tensor, int], Fields]
    """The image along an axis to k fields."""
    analyze_adjoint: Callable[[Fields, int], tf.Tensor]
    synthesize: Callable[[Fields, int], tf.Tensor] | None
    """k products to the output along an axis; None is their sum."""
    synthesize_adjoint: Callable[[tf.Tensor, int], Fields] | None


def _cut(x: tf.Tensor, axis: int, begin: int, end: int) -> tf.Tensor:
    """All but the first ``begin`` and the last ``end``."""
    first, size = [0] * x.shape.rank, [-1] * x.shape.rank
    first[axis], size[axis] = begin, x.shape[axis] - begin - end
    return tf.slice(x, first, size)


def _pad(x: tf.Tensor, axis: int, before: int, after: int) -> tf.Tensor:
    paddings = [[0, 0] for _ in x.shape]
    paddings[axis] = [before, after]
    return tf.pad(x, paddings)


def _next(x: tf.Tensor, axis: int) -> tf.Tensor:
    """x[i + 1], zero after the end."""
    return _pad(_cut(x, axis, 1, 0), axis, 0, 1)


def _previous(x: tf.Tensor, axis: int) -> tf.Tensor:
    """x[i - 1], zero before the beginning."""
    return _pad(_cut(x, axis, 0, 1), axis, 1, 0)


def _reshape(x: tf.Tensor, shape: Sequence[int | None]) -> tf.Tensor:
    """With None for the batch, which may be unknown."""
    return tf.reshape(x, [-1 if extent is None else extent for extent in shape])


def _split(x: tf.Tensor, axis: int) -> tuple[tf.Tensor, tf.Tensor]:
    """x[2i] and x[2i + 1]."""
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
    even, odd = _split(_pad(x, axis, 1, 1), axis)
    d0, d1, d2, d3 = (_cut(pair, axis, *ends) for ends in ((0, 1), (1, 0)) for pair in (even, odd))
    return d0 - d2, d1 + d2, d2 - d1, d1 - d3


def _winograd_analyze_adjoint(fields: Fields, axis: int) -> tf.Tensor:
    g0, g1, g2, g3 = fields
    even = _pad(g0, axis, 0, 1) + _pad(g1 + g2 - g0, axis, 1, 0)
    odd = _pad(g1 - g2 + g3, axis, 0, 1) - _pad(g3, axis, 1, 0)
    return _cut(_interleave(even, odd, axis), axis, 1, 1)


def _winograd_synthesize(products: Fields, axis: int) -> tf.Tensor:
    m0, m1, m2, m3 = products
    return _interleave(m0 + m1 + m2, m1 - m2 - m3, axis)


def _winograd_synthesize_adjoint(y: tf.Tensor, axis: int) -> Fields:
    even, odd = _split(y, axis)
    return even, even + odd, even - odd, -odd


_ENDS_AND_SUM = np.array([[1, 0, 0], [1, 1, 1], [0, 0, 1]])
_AFTER_UPSAMPLING = _Algorithm(
    _ENDS_AND_SUM,
    _upsampling_analyze,
    _upsampling_analyze_adjoint,
    _upsampling_synthesize,
    _upsampling_synthesize_adjoint,
)
# Half along each axis: the mean of four.
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
"""Axes, from the end: fields are stacked before the batch."""


def _convolution(algorithm: _Algorithm) -> Contraction:
    """The convolution of images with a kernel times a scale that an algorithm computes."""
    taps = np.kron(algorithm.taps, algorithm.taps)
    num_products, num_taps = taps.shape
    is_sum = algorithm.synthesize is None

    def transform(kernel: tf.Tensor, scale: tf.Tensor, needed_for: tf.Tensor) -> tf.Tensor:
        """The kernel's combinations, ``(k^2, in_channels, out_channels)``, in the dtype of ``needed_for``."""
        # It could be computed as soon as the weights are there; but those of all layers at once take much memory.
        with tf.control_dependencies([needed_for]):
            combined = tf.matmul(tf.constant(taps, kernel.dtype) * scale, tf.reshape(kernel, (num_taps, -1)))
        return tf.reshape(tf.cast(combined, needed_for.dtype), (num_products, *kernel.shape[2:]))

    def transform_adjoint(gradient: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
        combined = tf.cast(tf.reshape(gradient, (num_products, -1)), scale.dtype)
        combined = tf.matmul(tf.constant(taps.T, scale.dtype) * scale, combined)
        return tf.reshape(combined, (TAPS, TAPS, *gradient.shape[1:]))

    # Neither fields nor transformed kernel are kept for the gradient: they are larger than what they are made of.

    def multiply(images: tf.Tensor, kernel: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
        fields = _analyze(images, algorithm)
        transformed = transform(kernel, scale, needed_for=images)
        if not is_sum:
            return _fields(tf.matmul(_matrices(fields), transformed), fields)
        # The sum of all products, as one product of longer rows. The reshape of each field is for TensorFlow Lite: its
        # converter mistakes tf.concat(tf.unstack()) alone for a reshape of the whole.
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
        # A sum is the same for all fields; the product broadcasts it.
        return tf.reshape(products, (1, -1, products.shape[-1])) if is_sum else _matrices(products)

    products = bilinear(multiply, to_images, to_kernel)
    if is_sum:
        return products
    synthesize = linear(
        lambda products: _synthesize(products, algorithm), lambda outputs: _synthesize_adjoint(outputs, algorithm)
    )
    return lambda images, kernel, scale: synthesize(products(images, kernel, scale))


def _analyze(x: tf.Tensor, algorithm: _Algorithm) -> tf.Tensor:
    """The image to its k^2 fields, ``(k, k, batch, height, width, channels)``."""
    rows = tf.stack(algorithm.analyze(x, HEIGHT))
    return tf.stack(algorithm.analyze(rows, WIDTH), axis=1)


# Below, height comes before width: taking a tensor apart along its first axis copies nothing.


def _analyze_adjoint(fields: tf.Tensor, algorithm: _Algorithm) -> tf.Tensor:
    columns = algorithm.analyze_adjoint(tf.unstack(fields), HEIGHT)
    return algorithm.analyze_adjoint(tf.unstack(columns), WIDTH)


def _synthesize(products: tf.Tensor, algorithm: _Algorithm) -> tf.Tensor:
    """k^2 products, ``(k, k, batch, height, width, channels)``, to the output."""
    assert algorithm.synthesize is not None
    columns = algorithm.synthesize(tf.unstack(products), HEIGHT)
    return algorithm.synthesize(tf.unstack(columns), WIDTH)


def _synthesize_adjoint(y: tf.Tensor, algorithm: _Algorithm) -> tf.Tensor:
    assert algorithm.synthesize_adjoint is not None
    rows = tf.stack(algorithm.synthesize_adjoint(y, HEIGHT))
    return tf.stack(algorithm.synthesize_adjoint(rows, WIDTH), axis=1)


def _matrices(fields: tf.Tensor) -> tf.Tensor:
    """``(k, k, batch, height, width, channels)`` to ``(k^2, batch * height * width, channels)``."""
    return tf.reshape(fields, (fields.shape[0] ** 2, -1, fields.shape[-1]))


def _fields(matrices: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    return _reshape(matrices, [*like.shape[:-1], matrices.shape[-1]])


_after_upsampling = _convolution(_AFTER_UPSAMPLING)
_before_pooling = _convolution(_BEFORE_POOLING)
_alone = _convolution(_WINOGRAD)


def upsample_convolve(images: tf.Tensor, kernel: tf.Tensor, scale: tf.Tensor | float = 1.0) -> tf.Tensor:
    """3x3 convolution of the images after nearest upsampling by two.

    Args:
        images: shape ``(batch, height, width, in_channels)``, all but the batch known.
        kernel: shape ``(3, 3, in_channels, out_channels)``; its transform is computed in its own dtype.
        scale: factor of the kernel, a scalar other than zero. It costs nothing: the taps' coefficients take it.

    Returns:
        Shape ``(batch, 2 height, 2 width, out_channels)``, dtype of the images.
    """
    return _after_upsampling(images, kernel, tf.convert_to_tensor(scale, kernel.dtype))


def convolve_downsample(images: tf.Tensor, kernel: tf.Tensor, scale: tf.Tensor | float = 1.0) -> tf.Tensor:
    """2x2 average pooling of the images' 3x3 convolution; height and width even.

    Args and returns as for :func:`upsample_convolve`, but ``(batch, height / 2, width / 2, out_channels)``.
    """
    return _before_pooling(images, kernel, tf.convert_to_tensor(scale, kernel.dtype))


def convolve(images: tf.Tensor, kernel: tf.Tensor, scale: tf.Tensor | float = 1.0) -> tf.Tensor:
    """3x3 convolution; height and width even.

    Args and returns as for :func:`upsample_convolve`, but ``(batch, height, width, out_channels)``.
    """
    return _alone(images, kernel, tf.convert_to_tensor(scale, kernel.dtype))
