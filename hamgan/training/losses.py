"""The hinge losses, from TF-GAN."""

import tensorflow as tf

from hamgan import tfgan


def hinge_discriminator_loss(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
    """mean relu(1 - D(real)) + mean relu(1 + D(fake)), a scalar.

    Args:
        real_logits: shape ``(batch, 1)``.
        fake_logits: shape ``(batch, 1)``.

    Reference: Lim and Ye, Geometric GAN (2017); Miyato et al. (ICLR 2018).
    """
    return tfgan.wasserstein_hinge_discriminator_loss(real_logits, fake_logits, loss_collection=None)


def hinge_generator_loss(fake_logits: tf.Tensor) -> tf.Tensor:
    """-mean D(fake), a scalar; ``fake_logits`` has shape ``(batch, 1)``."""
    return tfgan.wasserstein_hinge_generator_loss(fake_logits, loss_collection=None)
