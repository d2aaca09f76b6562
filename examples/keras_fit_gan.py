"""A GAN of our networks with Keras's ``compile`` and ``fit``: python examples/keras_fit_gan.py --epochs 30"""

import argparse

import keras
import sklearn.datasets
import tensorflow as tf

from hamgan.networks import Discriminator, Generator
from hamgan.sampling.grids import image_grid
from hamgan.training.losses import hinge_discriminator_loss, hinge_generator_loss

STRATEGY = tf.distribute.MirroredStrategy()
HAMBURGER = {"module": "hamburger", "resolution": 16, "latent_dim": 16, "rank": 8}
NETWORK = {"resolution": 32, "num_classes": 10, "context": [HAMBURGER]}


class GAN(keras.Model):
    """One update of the discriminator and one of the generator per batch."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.generator = Generator(base_channels=16, z_dim=64, batch_norm_momentum=0.99, **NETWORK)
        self.discriminator = Discriminator(base_channels=32, **NETWORK)
        self.built = True  # Both networks have their weights already.

    def compile(self, **optimizers):
        """Sets the optimizer of each network, by name."""
        super().compile()
        self.optimizers = optimizers

    def train_step(self, data):
        """Takes one step on a batch of images and labels."""
        images, labels = data
        z = tf.random.normal((tf.shape(labels)[0], self.generator.z_dim))
        with tf.GradientTape(persistent=True) as tape:
            both = tf.concat([images, self.generator(z, labels, training=True)], axis=0)
            real, fake = tf.split(self.discriminator(both, tf.concat([labels, labels], 0), training=True), 2)
            losses = {"discriminator": hinge_discriminator_loss(real, fake), "generator": hinge_generator_loss(fake)}
        for name, loss in losses.items():
            variables = getattr(self, name).trainable_variables
            gradients = tape.gradient(loss, [variable.value for variable in variables])
            # An optimizer adds up the gradients of all replicas.
            self.optimizers[name].apply([each / STRATEGY.num_replicas_in_sync for each in gradients], variables)
        return losses


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=30)
    digits = sklearn.datasets.load_digits()
    images = tf.image.resize(tf.repeat(digits.images[..., None], 3, axis=-1), (32, 32)) / 8 - 1
    with STRATEGY.scope():
        gan, adam = GAN(), keras.optimizers.Adam
        gan.compile(generator=adam(2e-4, 0.0, 0.999), discriminator=adam(8e-4, 0.0, 0.999))
    gan.fit(images, digits.target, batch_size=32, epochs=parser.parse_args().epochs, verbose=2)
    samples = gan.generator(*gan.generator.draw_inputs(seed=0, count=40, labels=tf.repeat(tf.range(10), 4)))
    keras.utils.save_img("samples.png", image_grid(samples.numpy(), columns=4), scale=False)
