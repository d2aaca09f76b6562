"""Custom gradients whose operations carry the name of their layer, so that a profile says whose they are."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def custom_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    """``tf.custom_gradient``, with the gradient in the name scope of the call.

    TensorFlow's own gradients are named ``gradient_tape/`` and what they belong to; those of ``tf.custom_gradient``
    would be in no scope at all.

    Args:
        function: of tensors, to its outputs and their gradient function; it captures no variables.
    """

    @tf.custom_gradient
    def call(*arguments: tf.Tensor) -> tuple[Any, Any]:
        outputs, grad = function(*arguments)
        scope = tf.get_current_name_scope()

        def scoped_grad(*upstream: tf.Tensor) -> Any:
            # A scope that ends in a slash is absolute.
            with tf.name_scope(f"gradient_tape/{scope}/" if scope else "gradient_tape/"):
                return grad(*upstream)

        return outputs, scoped_grad

    return call
