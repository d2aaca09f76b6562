# %% [markdown]
# # A Hamburger in your own Keras model
#
# At the end, you have a convolutional network that recognizes handwritten digits, with a Hamburger in its middle. You
# have trained it with `fit`, seen what the Hamburger adds, and saved and loaded the model.
#
# To follow along: `python examples/hamburger_classifier.py`, or `scripts/tutorials.sh hamburger_classifier`, which
# writes the notebook `build/tutorials/hamburger_classifier.ipynb`.

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
import sklearn.datasets
import sklearn.model_selection

import hamgan

keras.utils.set_random_seed(0)

# %% [markdown]
# ## Data
#
# scikit-learn ships 1,797 digits of 8x8 pixels. A fifth of them is for testing.

# %% picture="digits" alt="Ten handwritten digits of 8x8 pixels"
digits = sklearn.datasets.load_digits()
images = (digits.images[..., None] / 16).astype("float32")
train_images, test_images, train_labels, test_labels = sklearn.model_selection.train_test_split(
    images, digits.target, test_size=0.2, random_state=0
)
print(train_images.shape, test_images.shape)

figure, axes = plt.subplots(1, 10, figsize=(6, 0.8))
for axis, image, label in zip(axes, train_images, train_labels, strict=False):
    axis.imshow(image, cmap="gray")
    axis.set_title(label)
    axis.axis("off")
plt.show()

# %% [markdown]
# ## The layer
#
# A Hamburger takes feature maps of shape `(batch, height, width, channels)` and returns the same shape. In between, it
# approximates the features of all positions of an image by a few bases. This is how every position learns of all
# others, where a 3x3 convolution sees its neighbours only.
#
# - `latent_dim`: number of channels that are decomposed
# - `rank`: number of bases
# - `batch_norm`: batch normalisation of what is added to the features
# - `seed`: makes the initial bases reproducible

# %%
hamburger = hamgan.layers.Hamburger(latent_dim=16, rank=8, batch_norm="plain", batch_norm_momentum=0.9, seed=0)
features = np.random.default_rng(0).normal(size=(2, 8, 8, 32)).astype("float32")
output = hamburger(features)
print(output.shape, "difference from the input:", float(np.abs(output - features).max()))

# %% [markdown]
# The output equals the input, because the layer computes `x + sigma * context(x)`, and its scalar `sigma` starts at 0.
# So a Hamburger that is added to a trained network changes nothing until it is trained.
#
# ## The model
#
# A layer of the functional API, like any other:

# %%
inputs = keras.Input((8, 8, 1))
hidden = keras.layers.Conv2D(32, 3, padding="same", activation="relu")(inputs)
hidden = hamburger(hidden)
hidden = keras.layers.Conv2D(32, 3, strides=2, activation="relu")(hidden)
outputs = keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(hidden))
model = keras.Model(inputs, outputs)

for layer in model.layers:
    print(f"{layer.name:25} {layer.count_params():6,} parameters")

# %% [markdown]
# ## Training

# %% picture="training" alt="Accuracy of training and test images, which grows in each epoch"
model.compile(
    optimizer=keras.optimizers.Adam(2e-3),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
history = model.fit(
    train_images, train_labels, validation_data=(test_images, test_labels), batch_size=32, epochs=12, verbose=0
).history

plt.figure(figsize=(5, 2.5))
plt.plot(range(1, 13), history["accuracy"], label="training")
plt.plot(range(1, 13), history["val_accuracy"], label="test")
plt.xlabel("epoch")
plt.ylabel("accuracy")
plt.legend()
plt.show()

# %%
_, accuracy = model.evaluate(test_images, test_labels, verbose=0)
print(f"Test accuracy {accuracy:.1%}")
print(f"sigma {float(hamburger.sigma):.3f}")

# %% [markdown]
# `sigma` is no longer 0: the network uses the context.
#
# ## What the Hamburger adds
#
# The context is the difference between the output and the input of the layer. The lower row shows its mean absolute
# value over the channels, from dark to bright:

# %% picture="context" alt="Five digits, and below each the size of the context at every position"
before = keras.Model(inputs, model.layers[1].output)(test_images[:5])
context = hamburger(before) - before
strength = np.abs(context).mean(axis=-1)

figure, axes = plt.subplots(2, 5, figsize=(5, 2.1))
for column in range(5):
    axes[0, column].imshow(test_images[column], cmap="gray")
    axes[1, column].imshow(strength[column], cmap="viridis")
for axis in axes.flat:
    axis.axis("off")
plt.show()

# %% [markdown]
# ## Save and load
#
# The file has the layer's settings and weights. Loading it needs `import hamgan.layers`, which registers the layer with
# Keras.

# %%
model.save("classifier.keras")
loaded = keras.models.load_model("classifier.keras")
difference = np.abs(loaded.predict(test_images, verbose=0) - model.predict(test_images, verbose=0)).max()
print("Largest difference of the logits:", float(difference))

# %% [markdown]
# ## Where to go next
#
# - [Use a Hamburger in your model](../docs/using_hamburger.md): where to put it, and every setting.
# - [Choose a context module](../docs/tutorials/choosing_context.md): the alternatives, compared in one network.
# - [Bases and export](../docs/bases_and_export.md): deterministic results, TFLite and ONNX.
