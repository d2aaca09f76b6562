# %% [markdown]
# # Choose a context module
#
# At the end, you have trained the same small network with different context modules on a problem that cannot be solved
# without context. You have a table of their parameters, cost and accuracy, and know how cost grows with the size of
# images.
#
# To follow along: `python examples/choosing_context.py`, or `scripts/tutorials.sh choosing_context`, which writes the
# notebook `build/tutorials/choosing_context.ipynb`.

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

from hamgan import layers

# %% [markdown]
# ## A problem that needs context
#
# Each image has 8x8 patches in six colors, with noise. One patch is marked. The network has to find all patches of the
# color of the marked one. So every position has to know a color that may be anywhere in the image, which a convolution
# of neighbours cannot see.
#
# Inputs have four channels: red, green, blue and the mark.

# %% picture="problem" alt="Three images of colored patches, one of them marked, and the patches of its color"
COLORS = np.array([[230, 25, 75], [60, 180, 75], [255, 225, 25], [0, 130, 200], [245, 130, 48], [145, 30, 180]]) / 255
PATCHES, PATCH = 8, 2


def draw_images(count, seed):
    """Returns inputs, shape (count, 16, 16, 4), and masks, shape (count, 16, 16, 1)."""
    rng = np.random.default_rng(seed)
    colors = rng.integers(len(COLORS), size=(count, PATCHES, PATCHES))
    marked = (np.arange(count), *rng.integers(PATCHES, size=(2, count)))
    mark = np.zeros(colors.shape)
    mark[marked] = 1
    same = colors == colors[marked][:, None, None]
    images = COLORS[colors] + rng.normal(0, 0.1, (*colors.shape, 3))
    inputs = np.concatenate([images, mark[..., None]], axis=-1)
    return (each.repeat(PATCH, 1).repeat(PATCH, 2).astype("float32") for each in (inputs, same[..., None]))


images, masks = draw_images(2000, seed=0)
test_images, test_masks = draw_images(300, seed=1)


def show(rows):
    """Draws rows of three pictures."""
    _, axes = plt.subplots(len(rows), 3, figsize=(4, 1.35 * len(rows)), squeeze=False)
    for line, (name, pictures) in zip(axes, rows.items(), strict=True):
        line[0].set_ylabel(name)
        for axis, picture in zip(line, pictures, strict=True):
            axis.imshow(np.clip(picture, 0, 1), cmap="gray", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
    plt.tight_layout(pad=0.4)
    plt.show()


marked = np.where(test_images[:3, ..., 3:] == 1, 1.0, test_images[:3, ..., :3] * 0.8)
show({"image": marked, "same color": test_masks[:3]})

# %% [markdown]
# ## One network, many modules
#
# Convolutions of 1x1 look at each position alone. In their middle is the module, which is all that relates positions to
# each other. All modules have the same form, `x + sigma * context(x)`, and replace each other in one line.

# %%
MODULES = {
    "none": None,
    "Hamburger": lambda: layers.Hamburger(latent_dim=32, rank=8, seed=0),
    "SelfAttention": layers.SelfAttention,
    "NonLocal": layers.NonLocal,
    "EfficientAttention": layers.EfficientAttention,
    "GlobalContext": layers.GlobalContext,
    "SqueezeExcitation": lambda: layers.SqueezeExcitation(reduction=4),
}


def network(module):
    """Returns a network with a context module in its middle."""
    inputs = keras.Input((None, None, 4))
    hidden = keras.layers.Conv2D(32, 1, activation="relu")(inputs)
    hidden = keras.layers.Conv2D(32, 1, activation="relu")(hidden)
    if MODULES[module] is not None:
        hidden = MODULES[module]()(hidden)
    hidden = keras.layers.Conv2D(32, 1, activation="relu")(hidden)
    return keras.Model(inputs, keras.layers.Conv2D(1, 1)(hidden))


# %% [markdown]
# ## Parameters and cost
#
# TensorFlow's profiler counts the floating-point operations of a forward pass. The convolutions are the same in all
# networks, so differences come from the modules.


# %%
def operations(module, side):
    """Returns the floating-point operations for one image, in millions."""
    model = network(module)
    graph = tf.function(model).get_concrete_function(tf.TensorSpec((1, side, side, 4))).graph
    builder = tf.compat.v1.profiler.ProfileOptionBuilder
    options = builder(builder.float_operation()).with_empty_output().build()
    return tf.compat.v1.profiler.profile(graph, options=options).total_float_ops / 1e6


costs = {module: [operations(module, side) for side in (16, 32, 64)] for module in MODULES}
print(f"{'module':18} parameters  operations (millions) at 16x16   32x32    64x64")
for module, values in costs.items():
    parameters = network(module).count_params()
    print(f"{module:18} {parameters:10,} {values[0]:31.1f} {values[1]:7.1f} {values[2]:8.1f}")

# %% picture="cost" alt="Operations against the side of the image: attention over all pairs grows fastest"
plt.figure(figsize=(5, 3.2))
for module, values in costs.items():
    plt.plot((16, 32, 64), values, "o-", label=module)
plt.xscale("log", base=2)
plt.yscale("log")
plt.xticks((16, 32, 64), ("16x16", "32x32", "64x64"))
plt.ylabel("operations (millions)")
plt.legend(fontsize=8)
plt.show()

# %% [markdown]
# With four times the positions, a Hamburger needs about four times the operations, and attention over all pairs of
# positions up to sixteen times. At 16x16 the difference is small; at 64x64 it decides.
#
# ## Effect
#
# Each network trains for eight epochs, with the same images and settings.

# %%
predictions, accuracies = {}, {}
for module in MODULES:
    keras.utils.set_random_seed(0)
    model = network(module)
    model.compile(
        optimizer=keras.optimizers.Adam(1e-2),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[keras.metrics.BinaryAccuracy(threshold=0.0, name="accuracy")],
    )
    validation = (test_images, test_masks)
    fitted = model.fit(images, masks, validation_data=validation, batch_size=50, epochs=8, verbose=0).history
    accuracies[module] = fitted["val_accuracy"]
    predictions[module] = tf.sigmoid(model(test_images[:3])).numpy()

print(f"Share of positions that are of another color: {1 - test_masks.mean():.1%}")
print(f"{'module':18} test accuracy after 2, 4 and 8 epochs")
for module, values in accuracies.items():
    print(f"{module:18} {values[1]:.1%}  {values[3]:.1%}  {values[7]:.1%}")

# %% picture="predictions" alt="Three problems, their solutions, and predictions with and without context"
chosen = ("none", "Hamburger", "SelfAttention")
show({"image": marked, "same color": test_masks[:3]} | {module: predictions[module] for module in chosen})
