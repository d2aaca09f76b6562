"""What the matrix decompositions share: the two gradients, and the checks of their operands.

With the one-step gradient everything that the iterations compute is a constant and only the last update of the
coefficients is differentiated, so nothing of the iterations is kept for the backward pass and its cost does not depend
on their number. That last update is made of plain operations on the inputs and those constants, and therefore has the
derivatives of every order of the function that it is.
"""

from typing import Literal, get_args

import tensorflow as tf

from hamgan.layers.precision import accumulation_dtype

Gradient = Literal["one_step", "unrolled"]
"""What is differentiated: the last update alone, or all iterations."""


def check_gradient(gradient: str) -> None:
    """Raises ValueError unless ``gradient`` is one of :data:`Gradient`."""
    if gradient not in get_args(Gradient):
        raise ValueError(f"gradient must be one of {get_args(Gradient)}, received {gradient!r}")


def checked_operands(
    inputs: tf.Tensor, initial_bases: tf.Tensor, rank: int | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns both as tensors if there is one set of bases for each row of the inputs.

    Other shapes would broadcast, or be multiplied into something else, without an error.

    Args:
        inputs: shape ``(batch, positions, latent_dim)``.
        initial_bases: expected to have shape ``(batch, latent_dim, rank)``.
        rank: number of bases R; any if absent.

    Raises:
        ValueError: the shapes do not fit.
        tf.errors.InvalidArgumentError: the same, where the shapes are unknown while a graph is traced. XLA knows them
            when it compiles.
    """
    inputs, initial_bases = tf.convert_to_tensor(inputs), tf.convert_to_tensor(initial_bases)
    if inputs.shape.rank != 3:
        raise ValueError(f"inputs must have shape (batch, positions, latent_dim), received {inputs.shape}")
    expected = tf.TensorShape([inputs.shape[0], inputs.shape[2], rank])
    message = (
        f"initial_bases must have shape (batch, latent_dim, rank), here {tuple(expected)}: "
        "a set of bases for each row of the inputs, one for each section of each image"
    )
    if not expected.is_compatible_with(initial_bases.shape):
        raise ValueError(f"{message}; received {initial_bases.shape}")
    if initial_bases.shape.is_fully_defined() and expected[0] is not None:
        return inputs, initial_bases
    expected_shape = tf.stack([tf.shape(inputs)[0], tf.shape(inputs)[2], rank or tf.shape(initial_bases)[2]])
    check = tf.debugging.assert_equal(tf.shape(initial_bases), expected_shape, message=message)
    # XLA drops the assertion; there the reshape refuses what does not fit.
    with tf.control_dependencies([check] if check is not None else []):
        return inputs, tf.reshape(initial_bases, expected_shape)


def whole_images(inputs: tf.Tensor, num_sections: int) -> tf.Tensor:
    """Returns the number of images that the rows of the inputs are the sections of.

    Raises:
        ValueError: some image lacks sections.
        tf.errors.InvalidArgumentError: the same, where the number of rows is unknown while a graph is traced.
    """
    message = f"inputs must have {num_sections} rows, one for each section, for each image"
    rows = inputs.shape[0]
    if rows is not None and rows % num_sections:
        raise ValueError(f"{message}; received {inputs.shape}")
    batch = tf.shape(inputs)[0]
    if rows is not None or num_sections == 1:
        return batch // num_sections
    with tf.control_dependencies([tf.debugging.assert_equal(batch % num_sections, 0, message=message)]):
        return batch // num_sections


def in_float32(x: tf.Tensor) -> tf.Tensor:
    """Casts half precision to float32: there the denominators' epsilon is rounded away, or zero."""
    return tf.cast(x, accumulation_dtype(x.dtype))


def constants(x: tf.Tensor, initial_bases: tf.Tensor, gradient: str) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns X and the initial bases as the iterations take them: X is a constant unless they are differentiated."""
    check_gradient(gradient)
    bases = tf.stop_gradient(tf.cast(initial_bases, x.dtype))
    return (tf.stop_gradient(x) if gradient == "one_step" else x), bases
