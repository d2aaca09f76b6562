"""Linear and bilinear maps with given adjoints, right to every order of differentiation.

The gradient of a linear map is its adjoint, whose gradient is the map. A bilinear map T defines three contractions of
the form <y, T(x, k)>: T itself, the one to x and the one to k. They are each other's derivatives. So each function
here names others of its kind as its gradient, and the backward pass can be differentiated like the forward pass.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from hamgan.layers.gradients import custom_gradient

Map = Callable[[tf.Tensor], tf.Tensor]
Contraction = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


def _constants(*tensors: tf.Tensor) -> list[tf.Tensor]:
    """The tensors as constants: in eager mode an outer tape would record, and keep alive, what is made of them."""
    return [tf.stop_gradient(tensor) for tensor in tensors]


def linear(function: Map, adjoint: Map) -> Map:
    """Returns a linear function whose gradient is ``adjoint``, whose gradient is the function.

    Args:
        function: linear function of one tensor.
        adjoint: its adjoint, <y, function(x)> = <adjoint(y), x>.
    """

    @custom_gradient
    def forward(x: tf.Tensor) -> tuple[tf.Tensor, Map]:
        return function(*_constants(x)), backward

    @custom_gradient
    def backward(y: tf.Tensor) -> tuple[tf.Tensor, Map]:
        return adjoint(*_constants(y)), forward

    return forward


def bilinear(forward: Contraction, to_images: Contraction, to_kernel: Contraction) -> Contraction:
    """Returns a function of images, kernel and scale, scale * T(images, kernel), that can be differentiated.

    Args:
        forward: images x, kernel k and scale s to s T(x, k).
        to_images: y, k and s to the x' with <x', x> = <y, s T(x, k)> for every x.
        to_kernel: x, y and s to the k' with <k', k> = <y, s T(x, k)> for every k, in the dtype of s.

    The scale is a scalar other than zero, in the dtype of the kernel.
    """

    def to_scale(factor: tf.Tensor, gradient: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
        # The whole is proportional to the scale and to each factor.
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
