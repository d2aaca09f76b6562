"""The order of computations that do not depend on each other."""

import tensorflow as tf


def computed_after(tensor: tf.Tensor, gradient_norm: tf.Tensor) -> tf.Tensor:
    """Returns a tensor with a data dependency on the norm of gradients.

    Two updates, or two parts of an update, do not depend on each other's images. Without this dependency, TensorFlow
    and XLA run them at the same time, with the activations of both in memory. A data dependency is necessary because
    XLA drops control dependencies; XLA cannot simplify this one, as it does not know that a norm is never -inf.

    Args:
        tensor: tensor that the later computation depends on.
        gradient_norm: norm of the gradients that must be computed before.
    """
    return tensor + tf.cast(tf.equal(gradient_norm, -float("inf")), tensor.dtype)
