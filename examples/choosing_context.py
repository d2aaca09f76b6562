# %% [markdown]
# # Choose a context module
#
# At the end, you have put different context modules into the same small network, and have a table of their parameters,
# their cost and the accuracy that they reach on handwritten digits. You know how cost grows with the size of images,
# and how large a difference in accuracy has to be to mean something.
#
# To follow along: `python examples/choosing_context.py`, or `scripts/tutorials.sh choosing_context`, which writes the
# notebook `build/tutorials/choosing_context.ipynb`.

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
import sklearn.datasets
import sklearn.model_selection
import tensorflow as tf

from hamgan import layers

# %% [markdown]
# ## One network, many modules
#
# All modules have the same form, `x + sigma * context(x)` with a scalar `sigma` that starts at 0, and replace each
# other in one line. The first convolution cuts an image into patches of 2x2 pixels; after it, only the module relates
# patches to each other.

# %%
MODULES = {
    "none": None,
    "Hamburger": lambda: layers.Hamburger(latent_dim=32, rank=4, seed=0),
    "SelfAttention": layers.SelfAttention,
    "NonLocal": layers.NonLocal,
    "EfficientAttention": layers.EfficientAttention,
    "GlobalContext": layers.GlobalContext,
}


def network(module):
    """Returns a classifier of gray images with a context module in its middle."""
    inputs = keras.Input((None, None, 1))
    hidden = keras.layers.Conv2D(32, 2, strides=2, activation="relu")(inputs)
    if MODULES[module] is not None:
        hidden = MODULES[module]()(hidden)
    hidden = keras.layers.Conv2D(64, 1, activation="relu")(hidden)
    return keras.Model(inputs, keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(hidden)))


# %% [markdown]
# ## Parameters and cost
#
# TensorFlow's profiler counts the floating-point operations of a forward pass. The convolutions are the same in all
# networks, so differences come from the modules.


# %%
def operations(module, side):
    """Returns the floating-point operations for one image, in millions."""
    model = network(module)
    graph = tf.function(model).get_concrete_function(tf.TensorSpec((1, side, side, 1))).graph
    builder = tf.compat.v1.profiler.ProfileOptionBuilder
    options = builder(builder.float_operation()).with_empty_output().build()
    return tf.compat.v1.profiler.profile(graph, options=options).total_float_ops / 1e6


costs = {module: [operations(module, side) for side in (32, 64, 128)] for module in MODULES}
print(f"{'module':18} parameters  operations (millions) at 32x32   64x64  128x128")
for module, values in costs.items():
    parameters = network(module).count_params()
    print(f"{module:18} {parameters:10,} {values[0]:31.1f} {values[1]:7.1f} {values[2]:8.1f}")

# %% picture="cost" alt="Operations against the side of the image: attention over all pairs grows fastest"
plt.figure(figsize=(5, 3.2))
for module, values in costs.items():
    plt.plot((32, 64, 128), values, "o-", label=module)
plt.xscale("log", base=2)
plt.yscale("log")
plt.xticks((32, 64, 128), ("32x32", "64x64", "128x128"))
plt.ylabel("operations (millions)")
plt.legend(fontsize=8)
plt.show()

# %% [markdown]
# With four times the positions, a Hamburger needs about four times the operations, and attention over all pairs of
# positions up to sixteen times. On small feature maps, the difference hardly matters; on large ones, it decides.
#
# ## Effect
#
# Each network learns 1,437 digits of 8x8 pixels, with the same settings. The other 360 digits are for testing. The
# standard error of an accuracy p that was measured on n images is sqrt(p (1 - p) / n).

# %%
digits = sklearn.datasets.load_digits()
train_images, test_images, train_labels, test_labels = sklearn.model_selection.train_test_split(
    digits.images[..., None] / 16, digits.target, test_size=0.2, random_state=0
)
accuracies = {}
for module in MODULES:
    keras.utils.set_random_seed(0)
    model = network(module)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(5e-3), loss, metrics=["accuracy"])
    model.fit(train_images, train_labels, batch_size=32, epochs=10, verbose=0)
    accuracies[module] = model.evaluate(test_images, test_labels, verbose=0)[1]

print("module              accuracy  standard error")
for module, accuracy in accuracies.items():
    error = np.sqrt(accuracy * (1 - accuracy) / len(test_labels))
    print(f"{module:18} {accuracy:9.1%}  {error:14.1%}")

# %% [markdown]
# A difference between two modules means something if it is much larger than the standard errors of both. Even then, it
# is one training each: other seeds give other accuracies. On your own problem, train each module with several seeds.
#
# ## Which one to take
#
# - If feature maps are large, one whose cost is linear in the number of positions, such as Hamburger.
# - If feature maps are small, any of them: measure.
# - In GANs and segmentation networks of this package, `hamburger` with NMF is the published choice.
#
# ## Where to go next
#
# - [Choose a context module](../docs/context_modules.md): all modules, and what is known about them.
# - [Cost of context modules](../docs/benchmarks/context.md): measured time and memory.
# - [Context modules on digits](../docs/context_digits.md): small GANs with each module and several seeds.
