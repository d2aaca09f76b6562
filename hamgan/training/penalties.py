"""Penalties that regularise the discriminator."""

from collections.abc import Callable

import tensorflow as tf


def r1_penalty(discriminate: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor) -> tf.Tensor:
    """Computes the R1 penalty, ``1/2 mean(|dD(x)/dx|^2)``.

    Args:
        discriminate: function from images to logits of shape ``(batch, 1)``, without side effects.
        images: real images x as the discriminator sees them, shape ``(batch, height, width, channels)``.

    Returns:
        A scalar.

    Reference: Mescheder et al., Which Training Methods for GANs do actually Converge? (ICML 2018), equation 9.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.training.penalties import r1_penalty
        >>> float(r1_penalty(lambda images: 3.0 * tf.reduce_sum(images, (1, 2)), tf.zeros((2, 2, 1, 1))))
        9.0
    """
    with tf.GradientTape() as tape:
        tape.watch(images)
        total = tf.reduce_sum(discriminate(images))
    gradients = tape.gradient(total, images)
    return 0.5 * tf.reduce_mean(tf.reduce_sum(tf.square(gradients), (1, 2, 3)))


def lecam_penalty(real_logits: tf.Tensor, fake_logits: tf.Tensor, averages: tf.Tensor) -> tf.Tensor:
    """Computes the LeCam penalty, ``mean((D(real) - a_fake)^2) + mean((D(fake) - a_real)^2)``.

    Args:
        real_logits: logits of real images, shape ``(batch, 1)``.
        fake_logits: logits of fakes, shape ``(batch, 1)``.
        averages: moving averages a_real and a_fake of the mean logits, shape ``(2,)``.

    Returns:
        A scalar.

    Reference: Tseng et al., Regularizing Generative Adversarial Networks under Limited Data (CVPR 2021), equation 5.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.training.penalties import lecam_penalty
        >>> float(lecam_penalty(tf.constant([[2.0]]), tf.constant([[-1.0]]), tf.constant([1.0, 0.0])))
        8.0
    """
    real_average, fake_average = tf.unstack(tf.cast(averages, real_logits.dtype))
    to_fakes = tf.reduce_mean(tf.square(real_logits - fake_average))
    return to_fakes + tf.reduce_mean(tf.square(fake_logits - real_average))


def consistency_penalty(logits: tf.Tensor, augmented_logits: tf.Tensor) -> tf.Tensor:
    """Computes the consistency penalty, ``mean((D(x) - D(T(x)))^2)``, of images x and augmented images T(x).

    Args:
        logits: logits of images, shape ``(batch, 1)``.
        augmented_logits: logits of the same images after augmentation, shape ``(batch, 1)``.

    Returns:
        A scalar.

    Reference: Zhao et al., Improved Consistency Regularization for GANs (AAAI 2021), algorithm 1 (bCR).

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.training.penalties import consistency_penalty
        >>> float(consistency_penalty(tf.constant([[1.0]]), tf.constant([[3.0]])))
        4.0
    """
    return tf.reduce_mean(tf.square(logits - augmented_logits))
