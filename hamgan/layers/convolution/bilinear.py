"""Linear and bilinear maps with explicit adjoints, differentiable to any order.

The gradient of a linear map is its adjoint, and vice versa. A bilinear map T has three partial derivatives of
<y, T(x, k)>: T itself with respect to y, and one each with respect to x and k. The derivatives of these three are
again among the three. Each function here therefore uses the others as its gradient.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from hamgan.layers.custom_gradient import custom_gradient

Map = Callable[[tf.Tensor], tf.Tensor]
Contraction = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


def _constants(*tensors: tf.Tensor) -> list[tf.Tensor]:
    """Stops gradients: in eager mode, an outer tape would otherwise record and keep all intermediate results."""
    return [tf.stop_gradient(tensor) for tensor in tensors]


def linear(function: Map, adjoint: Map) -> Map:
    """Returns a linear function with the given adjoint as its gradient.

    Args:
        function: linear function of one tensor.
        adjoint: linear function with <y, function(x)> = <adjoint(y), x>.
    """

    @custom_gradient
    def forward(x: tf.Tensor) -> tuple[tf.Tensor, Map]:
        return function(*_constants(x)), backward

    @custom_gradient
    def backward(y: tf.Tensor) -> tuple[tf.Tensor, Map]:
        return adjoint(*_constants(y)), forward

    return forward


def bilinear(forward: Contraction, to_images: Contraction, to_kernel: Contraction) -> Contraction:
    """Returns a differentiable function of (images, kernel, scale) that computes scale * T(images, kernel).

    The scale is a non-zero scalar in the dtype of the kernel.

    Args:
        forward: function of (x, k, s) that returns s T(x, k).
        to_images: function of (y, k, s) that returns x' with <x', x> = <y, s T(x, k)> for all x.
        to_kernel: function of (x, y, s) that returns k' with <k', k> = <y, s T(x, k)> for all k, in the dtype of s.
    """

    def to_scale(factor: tf.Tensor, gradient: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
        # The result is linear in the scale as well as in the factor.
        return tf.reduce_sum(tf.cast(factor, scale.dtype) * tf.cast(gradient, scale.dtype)) / scale

    @custom_gradient
    def apply(x: tf.Tensor, k: tf.Tensor, s: tf.Tensor) -> tuple[tf.Tensor, Any]:
        def grad(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            to_k = correlate(x, upstream, s)
            return transpose(upstream, k, s), to_k, to_scale(k, to_k, s)

        return forward(*_constants(x, k, s)), grad

    @custom_gradient
    def transpose(y: tf.Tensor, k: tf.Tensor, s: tf.Tensor) -> tuple[tf.Tensor, Any]:
        def grad(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            to_k = correlate(upstream, y, s)
            return apply(upstream, k, s), to_k, to_scale(k, to_k, s)

        return to_images(*_constants(y, k, s)), grad

    @custom_gradient
    def correlate(x: tf.Tensor, y: tf.Tensor, s: tf.Tensor) -> tuple[tf.Tensor, Any]:
        def grad(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            to_x = transpose(y, upstream, s)
            return to_x, apply(x, upstream, s), to_scale(x, to_x, s)

        return to_kernel(*_constants(x, y, s)), grad

    return apply
