"""Input checks and the choice of gradient, shared by all matrix decompositions.

With the one-step gradient, everything that the iterations compute is a constant; only the last update of the
coefficients is differentiated. The backward pass then stores nothing from the iterations, and its cost does not depend
on their number. The last update consists of plain TensorFlow operations, so derivatives of every order are exact.
"""

import tensorflow as tf

from hamgan.architecture import HAM_GRADIENTS
from hamgan.layers.precision import accumulation_dtype


def check_gradient(gradient: str) -> None:
    """Raises ValueError unless ``gradient`` is one of the known ones."""
    if gradient not in HAM_GRADIENTS:
        raise ValueError(f"gradient must be one of {HAM_GRADIENTS}, received {gradient!r}")


def checked_operands(
    inputs: tf.Tensor, initial_bases: tf.Tensor, rank: int | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns both arguments as tensors after checking that each row of the inputs has its own set of bases.

    Without the check, some wrong shapes would broadcast silently.

    Args:
        inputs: tensor of shape ``(batch, positions, latent_dim)``.
        initial_bases: tensor of shape ``(batch, latent_dim, rank)``.
        rank: expected number of bases R; None accepts any.

    Raises:
        ValueError: if the static shapes do not match.
        tf.errors.InvalidArgumentError: if shapes that are unknown during tracing do not match. XLA knows all shapes
            and reports the mismatch when it compiles.
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
    # XLA drops assertions; the reshape still fails on a mismatch.
    with tf.control_dependencies([check] if check is not None else []):
        return inputs, tf.reshape(initial_bases, expected_shape)


def num_images(inputs: tf.Tensor, num_sections: int) -> tf.Tensor:
    """Returns the number of images in inputs that have one row per section of an image.

    Raises:
        ValueError: if the number of rows is not a multiple of ``num_sections``.
        tf.errors.InvalidArgumentError: likewise, if the number of rows is unknown during tracing.
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
    """Casts half precision to float32, where the epsilon of the denominators does not vanish."""
    return tf.cast(x, accumulation_dtype(x.dtype))


def iteration_inputs(x: tf.Tensor, initial_bases: tf.Tensor, gradient: str) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns X and the bases for the iterations: the bases are constants, and so is X for the one-step gradient."""
    check_gradient(gradient)
    bases = tf.stop_gradient(tf.cast(initial_bases, x.dtype))
    return (tf.stop_gradient(x) if gradient == "one_step" else x), bases
