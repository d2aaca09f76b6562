# %% [markdown]
# # Export a generator and use the files
#
# At the end, you have the digits generator that comes with the package as a SavedModel, as a Keras file and for
# TensorFlow Lite. You have drawn the same digits with each of them, without the code of the trainer.
#
# To follow along: `python examples/export_digits.py`, or `scripts/tutorials.sh export_digits`, which writes the
# notebook `build/tutorials/export_digits.ipynb`.

# %%
import json
import pathlib

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

import hamgan
from hamgan.sampling.grids import image_grid

# %% [markdown]
# ## Export
#
# `"digits"` is a trained run of the package; the folder of a run of yours works the same way. Each file is loaded
# again and compared with the Keras model before the folder appears.

# %%
run = hamgan.load("digits")
for file in run.export("digits_model", formats=["savedmodel", "keras", "tflite"]):
    print(f"{file.format:16} {file.file:16} {file.bytes / 1e6:5.2f} MB   largest difference {file.difference:.0e}")

# %% [markdown]
# The command does the same: `hamgan export --run digits --out digits_model --formats savedmodel,keras,tflite`. Beside
# the files, there are a model card, a picture and the names of the classes:

# %%
folder = pathlib.Path("digits_model")
print(*sorted(path.name for path in folder.iterdir()), sep="\n")
print()
print("Classes:", json.loads((folder / "class_names.json").read_text()))

# %% [markdown]
# ## SavedModel
#
# It needs only TensorFlow. `sample` draws images from labels and a seed, as `run.sample` does:

# %% picture="savedmodel" alt="Generated digits of the SavedModel, 0 to 9"
saved = tf.saved_model.load("digits_model/saved_model")
images = saved.sample(labels=tf.range(10), seed=1, truncation=0.7)["images"].numpy()
print(images.dtype, images.shape)

expected = run.sample(classes=list(range(10)), seed=1, truncation=0.7)
print("Largest difference from run.sample, in gray levels:", np.abs(images.astype(int) - expected).max())

plt.figure(figsize=(6, 0.8))
plt.imshow(image_grid(images, columns=10))
plt.axis("off")
plt.show()

# %% [markdown]
# `generate` takes latent vectors and labels instead, and returns float images in [-1, 1]. The other files have this
# function only, so the same latent vectors serve for all of them:

# %%
z = np.random.default_rng(0).normal(size=(10, 12)).astype("float32")
labels = np.arange(10, dtype="int32")
of_saved_model = saved.generate(z=tf.constant(z), labels=tf.constant(labels))["images"].numpy()
print(of_saved_model.shape, "from", of_saved_model.min(), "to", of_saved_model.max())

# %% [markdown]
# ## Keras
#
# A Keras model with the layers of the package, which `import hamgan.networks` registers. It can be trained further.

# %%
generator = keras.saving.load_model("digits_model/generator.keras")
of_keras = generator(z, labels).numpy()
print(f"{type(generator).__name__} with {generator.count_params():,} parameters")

# %% [markdown]
# ## TensorFlow Lite
#
# For phones and small devices. The file has one signature, for batches of any size:

# %%
interpreter = tf.lite.Interpreter("digits_model/generator.tflite")
generate = interpreter.get_signature_runner()
for name, details in generate.get_input_details().items():
    print(f"{name:8} {details['dtype'].__name__:8} {details['shape_signature']}")

# %%
of_lite = generate(z=z, labels=labels)["images"]

# %% [markdown]
# ## One generator, three files
#
# Small differences come from the order of sums. They are far below one gray level, which is 2 / 255:

# %% picture="formats" alt="The same ten digits from the SavedModel, the Keras file and TensorFlow Lite"
for name, other in (("Keras", of_keras), ("TensorFlow Lite", of_lite)):
    print(f"{name:16} differs from the SavedModel by at most {np.abs(other - of_saved_model).max():.0e}")

rows = np.concatenate([of_saved_model, of_keras, of_lite])
plt.figure(figsize=(6, 2))
plt.imshow(image_grid(rows, columns=10, row_names=["SavedModel", "Keras", "TFLite"]))
plt.axis("off")
plt.show()

# %% [markdown]
# ## The model card
#
# `README.md` has the layout of the Hugging Face Hub. Its sections:

# %%
print(*(line for line in (folder / "README.md").read_text().splitlines() if line.startswith("#")), sep="\n")

# %% [markdown]
# ## Where to go next
#
# - [Export](../docs/export.md): ONNX, scores with fixed bases, licenses, limits of each format.
# - [Bases and export](../docs/bases_and_export.md): exporting Hamburgers of your own models.
# - [Explorer](../docs/explorer.md): the generator as a web page that works offline.
