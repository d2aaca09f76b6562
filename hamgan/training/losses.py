"""The hinge losses, from TF-GAN."""

import tensorflow as tf

from hamgan import tfgan

__all__ = ["hinge_discriminator_loss", "hinge_generator_loss"]


def hinge_discriminator_loss(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
    """Computes the hinge loss of the discriminator, ``mean(relu(1 - D(real))) + mean(relu(1 + D(fake)))``.

    Args:
        real_logits: logits of real images, shape ``(batch, 1)``.
        fake_logits: logits of fakes, shape ``(batch, 1)``.

    Returns:
        A scalar.

    Reference: Lim and Ye, Geometric GAN (2017); Miyato et al., Spectral Normalization for GANs (ICLR 2018).

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.training.losses import hinge_discriminator_loss
        >>> float(hinge_discriminator_loss(tf.constant([[0.5], [2.0]]), tf.constant([[-3.0], [0.0]])))
        0.75
    """
    return tfgan.wasserstein_hinge_discriminator_loss(real_logits, fake_logits, loss_collection=None)


def hinge_generator_loss(fake_logits: tf.Tensor) -> tf.Tensor:
    """Computes the loss of the generator, ``-mean(D(fake))``.

    Args:
        fake_logits: logits of fakes, shape ``(batch, 1)``.

    Returns:
        A scalar.

    Reference: Lim and Ye, Geometric GAN (2017); Miyato et al., Spectral Normalization for GANs (ICLR 2018).

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.training.losses import hinge_generator_loss
        >>> float(hinge_generator_loss(tf.constant([[-3.0], [0.5]])))
        1.25
    """
    return tfgan.wasserstein_hinge_generator_loss(fake_logits, loss_collection=None)
