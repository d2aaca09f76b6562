"""Custom gradients whose operations are named after their layer, so that profiles attribute them correctly."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from hamgan.layers.execution import is_differentiable


def custom_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorates a function like ``tf.custom_gradient``, and keeps its name scope in the backward pass.

    TensorFlow names the gradients of its own operations ``gradient_tape/SCOPE``. It puts those of
    ``tf.custom_gradient`` in no scope.

    Args:
        function: function of tensors that returns its outputs and their gradient function. It must not capture
            variables.

    Returns:
        A function that returns the outputs and can be differentiated, unless it is traced within
        ``execution(differentiable=False)``.
    """

    @tf.custom_gradient
    def call(*arguments: tf.Tensor) -> tuple[Any, Any]:
        outputs, grad = function(*arguments)
        scope = tf.get_current_name_scope()

        def scoped_grad(*upstream: tf.Tensor) -> Any:
            # A trailing slash makes the scope absolute.
            with tf.name_scope(f"gradient_tape/{scope}/" if scope else "gradient_tape/"):
                return grad(*upstream)

        return outputs, scoped_grad

    def call_or_forward(*arguments: tf.Tensor) -> Any:
        return call(*arguments) if is_differentiable() else function(*arguments)[0]

    return call_or_forward
