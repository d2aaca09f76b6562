# %% [markdown]
# # A GAN with compile and fit
#
# At the end, you have trained a class-conditional GAN with Keras's own `compile` and `fit`: the generator and the
# discriminator are models of `hamgan.networks`, each with a Hamburger, and the training step is your own. You have a
# picture of generated digits, one class per row.
#
# To follow along: `python examples/keras_fit_gan.py`, or `scripts/tutorials.sh keras_fit_gan`, which writes the
# notebook `build/tutorials/keras_fit_gan.ipynb`.

# %%
import keras
import matplotlib.pyplot as plt
import sklearn.datasets
import tensorflow as tf

from hamgan.networks import Discriminator, Generator
from hamgan.sampling.grids import image_grid
from hamgan.training.losses import hinge_discriminator_loss, hinge_generator_loss

keras.utils.set_random_seed(0)

# %% [markdown]
# ## Data
#
# The networks process images of 32, 64, 128 or 256 pixels with values in [-1, 1]. scikit-learn's 1,797 digits have 8x8
# pixels with values from 0 to 16, so they are enlarged and scaled.

# %%
digits = sklearn.datasets.load_digits()
images = (tf.image.resize(digits.images[..., None], (32, 32)) / 8 - 1)[:1792]
labels = digits.target[:1792]  # a multiple of the batch
print(images.shape, "from", float(tf.reduce_min(images)), "to", float(tf.reduce_max(images)))

# %% [markdown]
# ## Two networks
#
# `context` lists the context modules of a network, each with the resolution of the feature maps that it processes. Here
# it is one Hamburger on 16x16. All other sizes are small, so that a CPU can train them.
#
# A strategy of `tf.distribute` spreads the training over several devices. The mirrored one takes all GPUs of the
# machine, or its CPU if there are none. Networks and optimizers are created in its scope.

# %%
hamburger = {"module": "hamburger", "resolution": 16, "latent_dim": 16, "rank": 8}
shared = {"resolution": 32, "num_classes": 10, "channels": 1, "base_channels": 8, "context": [hamburger]}
strategy = tf.distribute.MirroredStrategy()
with strategy.scope():
    generator = Generator(z_dim=12, batch_norm_momentum=0.95, **shared)
    discriminator = Discriminator(**shared)

inputs = generator.draw_inputs(seed=0, count=4)
fakes = generator(*inputs)
logits = discriminator(fakes, inputs.labels)
print("latent vectors", inputs.z.shape, "-> images", fakes.shape, "-> logits", logits.shape)

# %% [markdown]
# `draw_inputs` draws latent vectors, labels and the initial bases of the Hamburger. They depend only on the seed and on
# the index of the image.
#
# ## The training step
#
# A Keras model whose `train_step` updates both networks. The discriminator sees real and generated images in one batch.
# `hinge_discriminator_loss` and `hinge_generator_loss` are the losses of the published HamGAN.
#
# The strategy splits each batch over its replicas, one for each GPU, and optimizers add up their gradients. Dividing by
# the number of replicas makes that a mean.


# %%
class GAN(keras.Model):
    """One update of the discriminator and one of the generator per batch."""

    def __init__(self, generator, discriminator, **kwargs):
        super().__init__(**kwargs)
        self.generator = generator
        self.discriminator = discriminator
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
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        for name, loss in losses.items():
            variables = getattr(self, name).trainable_variables
            gradients = tape.gradient(loss, [variable.value for variable in variables])
            self.optimizers[name].apply([each / replicas for each in gradients], variables)
        return losses


# %% [markdown]
# ## Compile and fit
#
# The discriminator learns four times as fast as the generator, as in the published model. `fit` shuffles and batches
# the images, and works with any of Keras's callbacks.

# %%
with strategy.scope():
    gan = GAN(generator, discriminator)
    gan.compile(
        generator=keras.optimizers.Adam(4e-4, beta_1=0.0, beta_2=0.98),
        discriminator=keras.optimizers.Adam(1.6e-3, beta_1=0.0, beta_2=0.98),
    )
history = gan.fit(images, labels, batch_size=32, epochs=10, verbose=0).history
for epoch in range(0, 10, 3):
    print(f"epoch {epoch + 1:2}", *(f"{name}: {history[name][epoch]:.2f}" for name in ("discriminator", "generator")))

# %% [markdown]
# The losses of a GAN do not fall: each network is measured against the other. They should stay bounded. Whether the
# training works, the samples show:

# %% picture="samples" alt="Generated digits, one class per row"
classes = tf.repeat(tf.range(10), 12)
samples = generator(*generator.draw_inputs(seed=0, count=120, labels=classes))
grid = image_grid(samples.numpy(), columns=12, row_names=[str(digit) for digit in range(10)])
plt.figure(figsize=(5, 4))
plt.imshow(grid, cmap="gray")
plt.axis("off")
plt.show()

# %% [markdown]
# ## Save
#
# The generator is a Keras model: its file has settings and weights.

# %%
generator.save("generator.keras")
loaded = keras.models.load_model("generator.keras")
same = generator.draw_inputs(seed=1, count=2)
print("Largest difference of the images:", float(tf.reduce_max(tf.abs(loaded(*same) - generator(*same)))))

# %% [markdown]
# ## Where to go next
#
# - [Digits from data to FID](../docs/tutorials/digits_to_fid.md): the same with the commands of the package, which add
#   checkpoints, exact resume, moving averages of the weights and scores.
# - [Train on your own images](../docs/own_images.md).
# - [Choose a context module](../docs/context_modules.md): other entries for `context`.
