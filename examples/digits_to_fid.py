# %% [markdown]
# # Digits: from data to FID
#
# At the end, you have prepared a data set, trained HamGAN on it for a short time, drawn samples, and scored them: an
# FID with its confidence interval. You know the commands for these steps, and the Python functions.
#
# To follow along: `python examples/digits_to_fid.py`, or `scripts/tutorials.sh digits_to_fid`, which writes the
# notebook `build/tutorials/digits_to_fid.ipynb`. The program writes its files to the current folder.

# %%
import json
import pathlib
import shlex
import subprocess

import matplotlib.pyplot as plt
import numpy as np

import hamgan
from hamgan.sampling.grids import image_grid


def run_command(command):
    """Runs a command and shows what it prints."""
    print("$", command)
    print(subprocess.run(shlex.split(command), check=True, stdout=subprocess.PIPE, text=True).stdout, end="")


# %% [markdown]
# ## Prepare
#
# The first command writes the records of the data set: 1,797 handwritten digits of scikit-learn, enlarged to 32x32. It
# also trains a small classifier, which the scores will need.

# %%
run_command("hamgan prepare digits --data_dir data")

# %% [markdown]
# ## Train
#
# A preset is a complete config, and `--override` changes its fields. The preset `digits` trains for 1,200 steps; 300
# are enough to see their first shapes. Everything goes to the folder of the run. If you interrupt the command, run it
# again to resume.

# %%
run_command(
    "hamgan train --run runs/digits --preset digits --data_dir data "
    "--override train.steps=300 train.checkpoint_every=300 train.image_every=300"
)
print(*sorted(path.name for path in pathlib.Path("runs/digits").iterdir()), sep="\n")

# %% [markdown]
# `metrics.jsonl` has a line for each entry of the log. `report.html` shows the same curves with samples and settings.

# %% picture="losses" alt="Losses of discriminator and generator over the training steps"
entries = [json.loads(line) for line in pathlib.Path("runs/digits/metrics.jsonl").read_text().splitlines()]
plt.figure(figsize=(5, 2.5))
for name in ("discriminator_loss", "generator_loss"):
    points = [(entry["step"], entry[name]) for entry in entries if name in entry]
    plt.plot(*zip(*points, strict=True), label=name)
plt.xlabel("step")
plt.legend()
plt.show()

# %% [markdown]
# ## Sample
#
# `hamgan.load` opens a run. `sample` is deterministic: the same arguments give the same images. A truncation bounds the
# latent vectors, which makes images more typical and less varied.

# %% picture="samples" alt="Generated digits, one class per row, after 300 steps"
run = hamgan.load("runs/digits")
images = run.sample(per_class=12, seed=1)
plt.figure(figsize=(5, 4))
plt.imshow(image_grid(images, columns=12, row_names=run.class_names))
plt.axis("off")
plt.show()

# %%
images = run.sample(classes=["3", 7], per_class=8, seed=1, truncation=0.7)
np.save("samples.npy", images)
print(f"{len(images)} images of step {run.step}, {images.dtype} {images.shape}: samples.npy")

# %% [markdown]
# The command `hamgan sample` writes pictures, folders or arrays, by the ending of `--out`:

# %%
run_command("hamgan sample --run runs/digits --out samples.npz --num 1000")

# %% [markdown]
# The networks are Keras models: call them, look inside, or build on them.

# %%
inputs = run.generator.draw_inputs(seed=0, count=100)
logits = run.discriminator(run.generator(*inputs), inputs.labels)
print(f"Mean logit of fakes {np.mean(logits):.2f}")

# %% [markdown]
# ## Score
#
# FID compares samples with the validation images in the feature space of a classifier: 0 is a perfect match. Inception
# knows photographs and no digits, so the classifier here is the one that was trained above. Its scores serve to compare
# runs on digits, not to compare with numbers of papers.
#
# A score depends on which samples were drawn. `evaluation.bootstrap=20` estimates its standard error: it resamples the
# generated images 20 times, with replacement.

# %%
run_command("hamgan evaluate --run runs/digits --classifier data/digits_classifier --override evaluation.bootstrap=20")

# %% [markdown]
# `hamgan.evaluate` is the same in Python. Results that exist are not computed again, so this call only reads them. The
# interval of 1.96 standard errors on each side is the usual one for 95 %.

# %%
(result,) = hamgan.evaluate(run, classifier="data/digits_classifier", overrides=["evaluation.bootstrap=20"])
scores, errors = result["scores"], result["standard_errors"]
for name in ("fid", "inception_score"):
    low, high = scores[name] - 1.96 * errors[name], scores[name] + 1.96 * errors[name]
    print(f"{name:16} {scores[name]:6.2f}   95 % interval {low:.2f} to {high:.2f}")
print(f"FID {scores['fid']:.2f}, IS {scores['inception_score']:.2f}, accuracy {scores['accuracy']:.1%}")

# %% [markdown]
# The interval does not cover another source of chance, the seed of the training. To compare two settings, train each
# with several seeds.
#
# ## What is a good score?
#
# `hamgan.score` scores any images against any others. The training images give the FID that a perfect generator would
# have, and the generator that comes with the package had the 1,200 steps of the preset:

# %%
for fakes in ("digits", "tfds:digits:train"):
    scored = hamgan.score(fakes, "tfds:digits", classifier="data/digits_classifier", data_dir="data")["scores"]
    print(f"{fakes:18} FID {scored['fid']:6.2f}   IS {scored['inception_score']:.2f}")

# %% [markdown]
# ## Where to go next
#
# - [Train on your own images](../docs/own_images.md): the same steps for other data.
# - [Evaluation](../docs/evaluation.md): every score, protocols that make scores comparable, Inception.
# - [Training](../docs/training.md): settings, fine-tuning, comparing context modules.
# - [Sampling](../docs/sampling.md) and [interpolation](../docs/interpolation.md).
