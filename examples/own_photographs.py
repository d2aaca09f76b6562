# %% [markdown]
# # Your own folder of photographs
#
# At the end, you have made a data set from a folder of photographs, read the report about it, trained the preset for
# small data sets for a few steps, and drawn samples. With your own folder, the commands are the same.
#
# To follow along: `python examples/own_photographs.py`, or `scripts/tutorials.sh own_photographs`, which writes the
# notebook `build/tutorials/own_photographs.ipynb`. The program writes its files to the current folder.

# %%
import json
import pathlib
import shlex
import subprocess

import matplotlib.pyplot as plt
import numpy as np
import sklearn.datasets
from PIL import Image

import hamgan
from hamgan.sampling.grids import image_grid


def run_command(command):
    """Runs a command and shows what it prints."""
    print("$", command)
    print(subprocess.run(shlex.split(command), check=True, stdout=subprocess.PIPE, text=True).stdout, end="")


# %% [markdown]
# ## A folder per class
#
# Replace this cell by a folder of yours: `photographs/CLASS/*.jpg`. Here, 100 pictures of each class are cut from the
# two photographs that scikit-learn ships, in different sizes.

# %% picture="photographs" alt="Parts of a photograph of a palace and of a photograph of a flower"
rng = np.random.default_rng(0)
folder = pathlib.Path("photographs")
shown = []
for name in ("china", "flower"):
    photograph = Image.fromarray(sklearn.datasets.load_sample_image(f"{name}.jpg"))
    (folder / name).mkdir(parents=True)
    for index in range(100):
        side = int(rng.integers(160, 320))
        left, top = (int(rng.integers(size - side)) for size in photograph.size)
        picture = photograph.crop((left, top, left + side, top + side))
        picture.save(folder / name / f"{index:03}.jpg")
        if index < 6:
            shown.append(np.asarray(picture.resize((64, 64))))

plt.figure(figsize=(5, 1.7))
plt.imshow(image_grid(np.stack(shown), columns=6, row_names=["china", "flower"]))
plt.axis("off")
plt.show()

# %% [markdown]
# Real folders have flaws. This one gets a file that is cut off, a copy of a picture, and a file that is no picture:

# %%
content = (folder / "china" / "000.jpg").read_bytes()
(folder / "china" / "broken.jpg").write_bytes(content[: len(content) // 2])
(folder / "flower" / "copy.jpg").write_bytes((folder / "flower" / "000.jpg").read_bytes())
(folder / "flower" / "notes.txt").write_text("Taken in July")

# %% [markdown]
# ## Prepare
#
# Every picture is cropped to its largest central square and resized, once. A tenth of each class is held out for
# validation.

# %%
run_command("hamgan prepare folder --source photographs --name photographs --resolution 32 --data_dir data --workers 1")

# %% [markdown]
# ## Look at the report
#
# `preparation.html` beside the records shows the classes, some of the pictures as they were written, and every file
# that was skipped or looks wrong. Open it before you train. `preparation.json` has the same facts for programs:

# %%
(report_path,) = pathlib.Path("data").rglob("preparation.json")
print("data set:", report_path.parent.relative_to("data"))
report = json.loads(report_path.read_text())
for split, facts in report["splits"].items():
    print(f"{split}: {facts['images_prepared']} of {facts['images_found']} pictures, {facts['images_found_per_class']}")
for problem in report["problems"]:
    print(problem)

# %% [markdown]
# ## Train
#
# The preset `small_data` takes the resolution, the number of classes and the splits from the data set. It mirrors half
# of the real images and uses consistency regularisation, which helps when there are few images. Its 50,000 steps are
# for GPUs; the overrides make the networks small and the training short.

# %%
run_command(
    "hamgan train --run runs/photographs --preset small_data --dataset photographs/32 --data_dir data "
    "--override train.steps=150 train.global_batch=16 train.ema_decay=0.98 train.checkpoint_every=150 "
    "train.generator_learning_rate=4e-4 train.discriminator_learning_rate=1.6e-3 "
    "model.generator.base_channels=8 model.discriminator.base_channels=8"
)

# %% [markdown]
# ## Samples

# %% picture="samples" alt="Samples of both classes after 150 steps: blurred colors of the photographs"
run = hamgan.load("runs/photographs")
images = run.sample(per_class=10, seed=0)
plt.figure(figsize=(6, 1.5))
plt.imshow(image_grid(images, columns=10, row_names=run.class_names))
plt.axis("off")
plt.show()

# %% [markdown]
# After 150 steps, the networks have learned the colors of each class and little of their shapes. Run the command again
# with more steps, and without the small networks, for your own pictures.
#
# ## Where to go next
#
# - [Train on your own images](../docs/own_images.md): layouts of folders, options of the preparation, what to do with
#   few images, and how to score.
# - [Fine-tune](../docs/training.md#fine-tune): start from trained weights.
# - [GPUs](../docs/training_on_gpus.md) and [TPUs](../docs/training_on_tpus.md): for the 50,000 steps.
